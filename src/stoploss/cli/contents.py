"""The table of contents of the command line: which module has which commands, and what `--help` says of each.

The list of commands is printed from here, so that it waits for no module; `tests/cli/test_contents.py` compares it with
what the commands say of themselves. A new command is a line here, in the order in which `--help` shows it.
"""

from __future__ import annotations

COMMANDS: dict[str, dict[str, str]] = {
    "starting_commands": {
        "init": "Write a commented experiment, prices and settings here.",
        "settings": "Every setting, its value here, and who set it.",
    },
    "running_commands": {
        "up": "Run everything here, until Ctrl-C.",
        "worker": "Run one or several roles in this process.",
        "controller": "Keep a flagd file, or a vendor, as the commands want it.",
        "topics": "Create the topics that are missing, or print all of them.",
        "tables": "Create the tables of ClickHouse that are missing.",
        "keys": "Make the key pair that signs commands.",
        "credentials": "Make certificates and passwords for a Kafka with ACLs.",
        "doctor": "Check addresses, topics, clock, versions, keys and disk.",
    },
    "request_commands": {
        "register": "Register an experiment.",
        "start": "Start an experiment, at its first stage or at --exposure.",
        "pause": "Take the treatment out of traffic; a resume follows.",
        "resume": "Begin a new run after a hold, pause, stop or rollback.",
        "stop": "Stop an experiment: nobody gets the treatment.",
        "rollback": "Give everybody the variant that the spec rolls back to.",
        "break-glass": "Stop past the monitor, with a key of people.",
    },
    "governing_commands": {
        "check": "Check an experiment's file without a broker.",
        "amend": "Change a registered experiment, with a reason.",
        "approve": "Approve an experiment for one domain.",
        "reject": "Reject an experiment for one domain.",
        "ramp": "Give the treatment another share, within the run.",
        "complete": "Decide on an experiment.",
        "reviewed": "Say that a completed experiment was reviewed.",
        "note": "Put a note beside the verdicts.",
        "clone": "Write a spec into a file, under another name.",
        "list": "All experiments, one line each.",
        "diff": "What a file would change in an experiment.",
        "policy": "Put the organisation's policy in force.",
        "budgets": "What teams and the programme have spent.",
        "overlaps": "Which experiments run on the same traffic.",
        "freeze": "Stop the line: pause every experiment that runs.",
        "unfreeze": "Lift the stop of the line.",
    },
    "reading_commands": {
        "status": "All experiments and their state.",
        "watch": "A live table of arms, verdicts and commands.",
        "explain": "The chain from evidence to command.",
        "review": "The review: hypothesis, guardrails, decision and why.",
        "shadow": "Shadow runs beside their live requests, pair by pair.",
    },
    "console_commands": {
        "console": "Pages in a browser, with buttons to stop.",
    },
    "evidence_commands": {
        "replay": "Judge the ledger again and compare with the journal.",
        "verify": "Check a journal: every link, every signature.",
        "archive": "Write all evidence of an experiment into one file.",
    },
    "incident_commands": {
        "incident": "Pack an incident into a folder that replays elsewhere.",
        "postmortem": "Write a post-mortem, or put on record what belongs in it.",
    },
    "cases_commands": {
        "cases": "Make evaluation cases of harm, and take their results.",
    },
    "knowledge_commands": {
        "knowledge": "Search past experiments: how they ended and why.",
    },
    "planning_commands": {
        "plan": "How soon each guardrail finds harm, and at what price.",
        "calibrate": "Measure false stops and delays on recorded requests.",
    },
    "privacy_commands": {
        "erase": "Erase one person's data and name every place.",
        "retention": "Delete what is older than its experiment allows.",
    },
    "traffic_commands": {
        "emit": "Send recorded requests, from JSONL or CSV.",
        "simulate": "Send seeded traffic with a known harm in the treatment.",
        "demo": "The main job, end to end, on real parts.",
    },
}
GROUPS: dict[str, tuple[str, str]] = {
    "adapter": ("adapter_commands", "See what an HTTP adapter would send; sends nothing."),
    "deadletter": ("dead_letter_commands", "List, show or retry what could not be read."),
    "schemas": ("schema_commands", "Put the schemas into a schema registry, or compare."),
}
