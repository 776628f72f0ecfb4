"""``mms plan``."""

from __future__ import annotations

import argparse

from mms_server.cli import output
from mms_server.cli.command_line import Answer, AnsweredError, Command, add_allow_gap, add_conf
from mms_server.deploy import apply
from mms_server.deploy.change_report import Outcome
from mms_server.deploy.host_context import Host


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Show what apply would do; change nothing."""
    return planned(apply.plan(host, options.conf, allow_gap=options.allow_gap))


def planned(outcome: Outcome) -> Answer:
    """Return the answer for a plan.

    Raises:
        AnsweredError: apply would refuse the plan. It is shown, with the exit code of apply.
    """
    answer, text = output.outcome_json(outcome), output.outcome_text(outcome, done=False)
    if outcome.refusal:
        raise AnsweredError(outcome.refusal, answer, text)
    return answer, text


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_conf(parser)
    add_allow_gap(parser)


COMMAND = Command("plan", run, "mms plan --conf /efs/models/mms.conf", add_options)
