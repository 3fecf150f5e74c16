#!/usr/bin/env python3
"""judge.py THRESHOLDS RESULTS…: fails when an area passes a smaller share of its cases than the thresholds ask for."""
import collections
import json
import pathlib
import sys

wanted = {}
for line in pathlib.Path(sys.argv[1]).read_text().splitlines():
    if line.strip() and not line.startswith("#"):
        area, percent = line.split()
        wanted[area] = int(percent)
results = [r for name in sys.argv[2:] for r in json.loads(pathlib.Path(name).read_text())]
count = collections.Counter((r["area"], r["result"]) for r in results)
bad = False
for area, percent in wanted.items():
    passed, failed = count[area, "pass"], count[area, "fail"]
    if passed + failed == 0:
        print(f"{area}: no case ran")
        bad = True
        continue
    share = 100 * passed / (passed + failed)
    verdict = "ok" if share >= percent else "TOO LOW"
    print(f"{area}: {passed} of {passed + failed} = {share:.1f} %, at least {percent} % wanted: {verdict}")
    bad |= share < percent
    if share >= percent + 4:
        print(f"  hint: raise {area} to {int(share)} in {sys.argv[1]}")
sys.exit(bad)
