// Grids are folded into rows of at most 65535 workgroups: the number of this one along the folded axis.
fn group_number(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}
