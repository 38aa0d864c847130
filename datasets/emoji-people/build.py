"""Builds this dataset (images, attributes.csv, SHA256SUMS) from the npm package
`emoji-datasource-google`.

    python3 build.py PACKAGE [OUT]

PACKAGE is the unpacked package, the folder with emoji.json and img/google/64; OUT is this folder by
default.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path

# The subcategories of emoji.json to use, and the classes that they become.
CLASSES = {
    "person": "person",
    "person-activity": "activity",
    "person-fantasy": "fantasy",
    "person-gesture": "gesture",
    "person-role": "role",
    "person-sport": "sport",
}
# Emoji with separate code points for each gender, and the code point of the neutral form.
RELATED = {
    "1F468": "1F9D1",  # man: adult
    "1F469": "1F9D1",  # woman
    "1F466": "1F9D2",  # boy: child
    "1F467": "1F9D2",  # girl
    "1F474": "1F9D3",  # older man: older adult
    "1F475": "1F9D3",  # older woman
    "1F934": "1FAC5",  # prince: person with crown
    "1F478": "1FAC5",  # princess
    "1F930": "1FAC4",  # pregnant woman: pregnant person
    "1FAC3": "1FAC4",  # pregnant man
    "1F57A": "1F483",  # man dancing: dancer
}
# Father and Mother Christmas, whose neutral form is a sequence.
CHRISTMAS = {"1F385": "1F9D1-1F384", "1F936": "1F9D1-1F384"}
# Words of the names that give the gender.
FEMALE = {"WOMAN", "GIRL", "PRINCESS", "MOTHER"}
MALE = {"MAN", "BOY", "PRINCE", "FATHER"}
SKIN = {"1F3FB": "light", "1F3FC": "medium-light", "1F3FD": "medium", "1F3FE": "medium-dark",
        "1F3FF": "dark"}
HAIR = {"1F9B0": "red", "1F9B1": "curly", "1F9B2": "bald", "1F9B3": "white", "1F471": "blond"}
SIGNS = {"2640": "female", "2642": "male"}
JOINERS = {"200D", "FE0F", "27A1", *SIGNS}


def first(table, emoji, default):
    """The value of the emoji's first code point that the table has."""
    return next((table[point] for point in emoji.split("-") if point in table), default)


def base_of(emoji):
    """The code points that skin tones, genders and directions of one emoji have in common."""
    points = [point for point in emoji.split("-") if point not in JOINERS and point not in SKIN]
    if len(points) == 1 and points[0] in CHRISTMAS:
        return CHRISTMAS[points[0]]
    return "-".join([RELATED.get(points[0], points[0]), *points[1:]])


def read_rows(entries):
    rows = []
    for entry in entries:
        if entry["subcategory"] in CLASSES:
            for form in [entry, *dict(sorted(entry.get("skin_variations", {}).items())).values()]:
                if form["has_img_google"]:
                    row = {"image": form["image"], "emoji": form["unified"],
                           "base": base_of(form["unified"])}
                    rows.append(row | {"name": entry["name"],
                                       "class": CLASSES[entry["subcategory"]]})
    return rows


def test_bases(rows):
    """The tenth (at least one) of each class's base emoji that comes first in the order of their
    SHA-256: a choice that is arbitrary and independent of the other classes."""
    classes = {}
    for row in rows:
        if classes.setdefault(row["base"], row["class"]) != row["class"]:
            sys.exit(f"the variants of {row['base']} are in two classes")
    tests = set()
    for name in CLASSES.values():
        bases = sorted((base for base in classes if classes[base] == name),
                       key=lambda base: digest(base.encode()))
        tests |= set(bases[: max((len(bases) + 5) // 10, 1)])
    return tests


def without_gender(name):
    """`WOMAN: RED HAIR` as `red hair`, `DEAF MAN` as `deaf`; None for a name without such a word,
    or with nothing else."""
    words = name.removesuffix(" FACING RIGHT").replace(":", " ").split()
    kept = [word for word in words if word not in {"WOMAN", "WOMEN", "MAN", "MEN", "PERSON"}]
    return " ".join(kept).lower() if 0 < len(kept) < len(words) else None


def role_of(base, rows):
    """The name of the base emoji's woman, man or person without that word, else its own name."""
    plain = [row["name"]
             for row in rows if row["base"] == base and first(SKIN, row["emoji"], None) is None]
    without = next(filter(None, map(without_gender, plain)), None)
    own = (row for row in rows if row["emoji"].replace("-200D", "").replace("-FE0F", "") == base)
    of_base = (row for row in rows if row["base"] == base)
    return without or next(own, next(of_base))["name"].lower()


def gender_of(row, signed):
    """By the emoji's sign, else by its name. An emoji without a sign whose relatives have one is
    neutral, though some still have older names (`MAN WITH TURBAN`)."""
    words = set(row["name"].replace(":", " ").split())
    sign = first(SIGNS, row["emoji"], None)
    if sign or row["base"] in signed:
        return sign or "neutral"
    return "female" if words & FEMALE else "male" if words & MALE else "neutral"


def digest(data):
    return hashlib.sha256(data).hexdigest()


def main(package, out):
    rows = read_rows(json.loads((package / "emoji.json").read_text()))
    tests = test_bases(rows)
    roles = {base: role_of(base, rows) for base in {row["base"] for row in rows}}
    signed = {row["base"] for row in rows if first(SIGNS, row["emoji"], None)}
    images = [(package / "img/google/64" / row["image"]).read_bytes() for row in rows]
    for split in ["train", "test"]:
        shutil.rmtree(out / split, ignore_errors=True)
    sums, table = {}, []
    for row, image in zip(rows, images):
        split = "test" if row["base"] in tests else "train"
        file = f"{split}/{row['class']}/{row['image']}"
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (out / file).write_bytes(image)
        sums[file] = digest(image)
        emoji, name, base = row["emoji"], row["name"], row["base"]
        facing = "right" if name.endswith(" FACING RIGHT") else ""
        fields = [file, emoji, name.lower(), base, first(SKIN, emoji, "default"),
                  gender_of(row, signed)]
        fields += [roles[base], first(HAIR, emoji, ""), facing, split]
        if any(mark in field for field in fields for mark in ',"\n'):
            sys.exit(f"{file}: a field would need quotes in CSV: {fields}")
        table.append(",".join(fields))
    head = "file,emoji,name,base,skin_tone,gender,role,hair,facing,split"
    csv = "\n".join([head, *sorted(table)]) + "\n"
    (out / "attributes.csv").write_text(csv)
    sums["attributes.csv"] = digest(csv.encode())
    (out / "SHA256SUMS").write_text("".join(f"{sums[file]}  {file}\n" for file in sorted(sums)))
    print(f"wrote {len(table)} images of {len(roles)} base emoji into {out}")
    print(f"the test split has the base emoji {', '.join(sorted(tests))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent)
