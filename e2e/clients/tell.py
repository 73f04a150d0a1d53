"""How our Python clients say what happens: JSON lines on standard output, log lines on standard error with the level as second word."""

import json
import logging
import sys
import time

logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s librdkafka: %(message)s", datefmt="%H:%M:%S")
logging.addLevelName(logging.WARNING, "WARN")
logging.addLevelName(logging.CRITICAL, "FATAL")
log = logging.getLogger("librdkafka")


def event(name, **fields):
    print(json.dumps({"timestamp": time.time_ns() // 1_000_000, "name": name, **fields}), flush=True)


def settings(pairs):
    return dict(pair.split("=", 1) for pair in pairs)
