"""Posts telemetry at a steady rate until the scene's file `stop` is there. Every event that the
router accepted is a line, its id, in the file `accepted`."""

import itertools
import os
import time

import adt

RUN_SECONDS_MAX = 170
RATE_PER_SECOND = 200
TWINS = 40

scene = adt.scene()


def main():
    ingress = adt.Ingress(scene["ingress"])
    started = time.monotonic()
    with open(scene["accepted"], "w", encoding="utf-8", buffering=1) as accepted:
        for number in itertools.count():
            if os.path.exists(scene["stop"]):
                break
            due = started + number / RATE_PER_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
            data = f'{{"number":{number},"temperature":{number % 50}.50}}'
            one = adt.event("microsoft.iot.telemetry", number, f"room{number % TWINS}", data)
            ingress.post_one(one)
            accepted.write(one["attributes"]["id"] + "\n")
    adt.ok(f"{number} events in {time.monotonic() - started:.1f} s")


adt.run_check(main, RUN_SECONDS_MAX)
