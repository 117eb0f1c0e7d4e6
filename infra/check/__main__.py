"""`python -m infra.check`: prints what is wrong with the templates; exit code 1 if anything is."""

import argparse
import sys

from infra.check.faults import TEMPLATES, all_faults


def main() -> int:
    argparse.ArgumentParser(prog="python -m infra.check", description=__doc__).parse_args()
    faults = all_faults()
    for fault in faults:
        print(f"infra/bicep/{fault}")
    if not faults:
        print(f"{len(list(TEMPLATES.rglob('*.bicep')))} Bicep files: nothing wrong.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
