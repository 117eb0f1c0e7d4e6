"""Verify the archive of the audit trail: that no archived row was changed, removed, put in or cut off.

Reads the whole archive and compares it with the heads of its chains, which the database keeps. The archiver may be
at work meanwhile. For each broken chain it names the first broken row: partition, row key, the hash that belongs
there and the one that was found.

Environment: the app's own settings (see local.settings.sample.json).
Exit code 0: all whole. 1: a chain is broken. 2: it could not be verified, and one line says why.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from shared_code import gateway
from shared_code.errors import PinkSyncError
from shared_code.services.audit_verify import Break, Verdict
from shared_code.settings import SettingsError

WHOLE, BROKEN, UNKNOWN = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.verify_audit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")
    wanted = parser.parse_args(arguments)
    try:
        verdict = asyncio.run(verify())
    except (PinkSyncError, SettingsError) as error:
        print(f"verify_audit: {error}", file=sys.stderr)
        return UNKNOWN
    if verdict is None:
        print("verify_audit: there is no archive: AUDIT_STORAGE_URL is not set", file=sys.stderr)
        return UNKNOWN
    report(verdict, as_json=wanted.json)
    return BROKEN if verdict.breaks else WHOLE


async def verify() -> Verdict | None:
    house = await gateway.current()
    try:
        return await house.verifier.verify() if house.verifier else None
    finally:
        await house.close()


def report(verdict: Verdict, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"whole": not verdict.breaks, **asdict(verdict)}))
        return
    for each in verdict.breaks:
        print(sentence(each))
    state = f"broken chains: {len(verdict.breaks)}" if verdict.breaks else "every chain is whole"
    print(f"{verdict.rows} archived rows in {verdict.chains} chains; {state}.")


def sentence(found: Break) -> str:
    place = f"row {found.row or '(unknown key)'}" + (f", number {found.sequence}," if found.sequence else "")
    hashes = f"expected hash {found.expected or 'unknown'}, found {found.found or 'none'}"
    return f"BROKEN: partition {found.partition}, {place} {found.fault}: {hashes}"


if __name__ == "__main__":
    sys.exit(main())
