"""What the class ids of a label map mean."""

from __future__ import annotations

from ..errors import CoPropError

BINARY = (1,)
MAX_CLASS_ID = 2**15 - 1  # label maps are int16

# AVSBench-semantic: index 0 is the background, then alphabetical (published label2idx.json counts from 1).
AVSBENCH_NAMES = (
    "background accordion airplane axe baby bassoon bell bird boat boy bus car cat cello clarinet clipper clock dog "
    "donkey drum duck elephant emergency-car erhu flute frying-food girl goose guitar gun guzheng hair-dryer handpan "
    "harmonica harp helicopter hen horse keyboard leopard lion man marimba missile-rocket motorcycle mower parrot piano "
    "pig pipa saw saxophone sheep sitar sorna squirrel tabla tank tiger tractor train trombone truck trumpet tuba "
    "ukulele utv vacuum-cleaner violin wolf woman"
).split()
AVSBENCH_CLASSES = tuple(range(1, len(AVSBENCH_NAMES)))


def check_class_ids(class_ids: tuple[int, ...]) -> tuple[int, ...]:
    """Class ids are distinct positive integers that label maps (int16) can hold; 0 is the background and never listed."""
    ids = tuple(int(c) for c in class_ids)
    if not ids or len(set(ids)) != len(ids) or min(ids) < 1 or max(ids) > MAX_CLASS_ID:
        raise CoPropError(
            f"class ids are distinct integers from 1 to {MAX_CLASS_ID} (0 is the background), got {str(class_ids)[:80]}."
        )
    return ids
