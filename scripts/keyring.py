"""What the keys of TOKEN_KEYRING still seal, and whether one of them may be dropped.

    python -m scripts.keyring                    how many stored secrets each key seals
    python -m scripts.keyring --may-drop k1      exit code 1 while something is sealed under k1
    python -m scripts.keyring --move             move what is under older keys now, as the timer does

Environment: the app's own settings (see local.settings.sample.json).
"""

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Mapping

from shared_code import gateway
from shared_code.errors import PinkSyncError
from shared_code.settings import SettingsError

type Counts = Mapping[str, Mapping[str, int]]
"""Key id → field → how many values."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.keyring", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--may-drop", metavar="KID", help="a key id; exit code 1 if it is still needed")
    parser.add_argument("--move", action="store_true", help="first move what older keys seal to the newest")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")
    wanted = parser.parse_args()
    try:
        kids, counts = asyncio.run(look(move=wanted.move))
    except (PinkSyncError, SettingsError) as error:
        print(f"keyring: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"kids": kids, "counts": counts}) if wanted.json else report(kids, counts))
    return verdict(wanted.may_drop, kids, counts) if wanted.may_drop else 0


async def look(*, move: bool) -> tuple[list[str], Counts]:
    house = await gateway.current()
    try:
        while move and await house.reencryption.run():
            continue  # a run ends after its share
        counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for under, count in (await house.reencryption.counts()).items():
            counts[under.kid][under.field] = count
        return list(house.cipher.kids), counts
    finally:
        await house.close()


def report(kids: list[str], counts: Counts) -> str:
    lines: list[str] = []
    for kid in [*kids, *sorted(counts.keys() - set(kids))]:
        part = "seals and opens" if kid == kids[0] else "opens" if kid in kids else "IS NOT IN TOKEN_KEYRING"
        fields = ", ".join(f"{field} {count}" for field, count in sorted(counts.get(kid, {}).items()))
        lines.append(f"{kid} ({part}): {fields or 'nothing'}")
    return "\n".join(lines)


def verdict(kid: str, kids: list[str], counts: Counts) -> int:
    left = sum(counts.get(kid, {}).values())
    if kid == kids[0]:
        print(f"{kid} must stay: it is the key that seals.", file=sys.stderr)
    elif left:
        print(f"{kid} must stay: {left} stored secrets are sealed under it.", file=sys.stderr)
    else:
        print(f"{kid} may be dropped from TOKEN_KEYRING.", file=sys.stderr)
    return int(kid == kids[0] or left > 0)


if __name__ == "__main__":
    sys.exit(main())
