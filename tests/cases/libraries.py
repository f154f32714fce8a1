"""Run by the environment of requirements/evals.lock, never by the project's: `python libraries.py FOLDER GOOD_ID`.

Reads FOLDER/inspect.jsonl and FOLDER/deepeval.json with the libraries themselves, evaluates them with a scorer that
passes GOOD_ID alone and without any model, and leaves what the libraries write as results. What was read stands in
read.json.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def inspect(folder: Path, good: str) -> dict[str, Any]:
    """The log goes to FOLDER/inspect/."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import json_dataset
    from inspect_ai.scorer import CORRECT, INCORRECT, Score, accuracy, scorer
    from inspect_ai.solver import solver

    @solver
    def nothing():
        async def solve(state, generate):
            return state

        return solve

    @scorer(metrics=[accuracy()])
    def by_id():
        async def score(state, target):
            return Score(value=CORRECT if state.sample_id == good else INCORRECT)

        return score

    dataset = json_dataset(str(folder / "inspect.jsonl"))
    task = Task(dataset=dataset, solver=nothing(), scorer=by_id())
    logs = eval(task, model="mockllm/model", log_dir=str(folder / "inspect"), log_format="json", display="none")
    fields = ("id", "input", "target", "metadata")
    samples = [{name: getattr(sample, name) for name in fields} for sample in dataset]
    return {"status": logs[0].status, "samples": samples}


def deepeval(folder: Path, good: str) -> dict[str, Any]:
    """The run goes to FOLDER/deepeval/."""
    from deepeval import evaluate
    from deepeval.dataset import EvaluationDataset
    from deepeval.evaluate.configs import AsyncConfig, DisplayConfig
    from deepeval.metrics import BaseMetric
    from deepeval.test_case import LLMTestCase

    class ById(BaseMetric):
        threshold = 1.0
        async_mode = False

        def measure(self, test_case, *args, **kwargs):
            self.success = test_case.name == good
            self.score = float(self.success)
            return self.score

        async def a_measure(self, test_case, *args, **kwargs):
            return self.measure(test_case)

        def is_successful(self):
            return bool(self.success)

    dataset = EvaluationDataset()
    dataset.add_goldens_from_json_file(str(folder / "deepeval.json"))
    cases = [
        LLMTestCase(
            name=golden.name,
            input=golden.input,
            actual_output="an answer",
            additional_metadata=golden.additional_metadata,
        )
        for golden in dataset.goldens
    ]
    evaluate(
        cases,
        [ById()],
        identifier="small-2",
        async_config=AsyncConfig(run_async=False),
        display_config=DisplayConfig(show_indicator=False, print_results=False),
    )
    fields = ("name", "input", "expected_output", "actual_output", "comments", "additional_metadata")
    return {"goldens": [{name: getattr(golden, name) for name in fields} for golden in dataset.goldens]}


def openai(folder: Path) -> dict[str, Any]:
    """The lines, as the client library's own model of a data source has them; it refuses what is none."""
    from openai.types.evals.create_eval_jsonl_run_data_source import CreateEvalJSONLRunDataSource

    content = [json.loads(line) for line in (folder / "openai.jsonl").read_text().split("\n") if line]
    source = {"type": "jsonl", "source": {"type": "file_content", "content": content}}
    read = CreateEvalJSONLRunDataSource.model_validate(source)
    return {"items": [one.item for one in read.source.content]}


if __name__ == "__main__":
    where, name = Path(sys.argv[1]), sys.argv[2]
    os.environ["DEEPEVAL_RESULTS_FOLDER"] = str(where / "deepeval")
    found = {"inspect": inspect(where, name), "deepeval": deepeval(where, name), "openai": openai(where)}
    (where / "read.json").write_text(json.dumps(found))
