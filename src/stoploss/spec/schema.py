"""The JSON Schema of a spec, for editors and for checks before a commit: `python -m stoploss.spec.schema > FILE`.

It says what is well-formed. What a well-formed spec must also satisfy (checks.py) no schema can say.
"""

from __future__ import annotations

import json
import sys

from stoploss.experiment import Experiment


def schema_text() -> str:
    schema = Experiment.model_json_schema(by_alias=True)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
