// The index of this workgroup (every entry point has the parameters BUILTINS: `group`, `groups` and
// `lane`): grids are folded into rows of at most 65535 workgroups.
fn group_number(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}
