"""Invariants of coins: the ledger is the balance, and both are what the tasks say."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from devstack.soak.evidence import Account, Evidence
from devstack.soak.finding import Finding, Problem

Record = Mapping[str, str]


def check_money(evidence: Evidence) -> Iterator[Finding]:
    """Yield what there is to say of the coins."""
    lines = [line for account in evidence.accounts.values() for line in account.ledger]
    kinds = Counter(line["kind"] for line in lines)
    told = f"{len(evidence.accounts)} users, " + ", ".join(
        f"{count} {kind}s" for kind, count in kinds.most_common()
    )
    yield Finding.of("ledger = balance, line by line", told, _ledgers(evidence.accounts))
    paid = sum(record["cost"] != "0" for record in evidence.records.values())
    told = f"{paid} paid tasks, {len(evidence.records) - paid} free ones"
    yield Finding.of("a paid task is debited once, refunded iff not done", told, _tasks(evidence))
    yield Finding.of("balance = first grant - what was done", told, _balances(evidence))


def _ledgers(accounts: Mapping[str, Account]) -> Iterator[Problem]:
    for user, account in accounts.items():
        total = 0
        for line in account.ledger:
            total += line["delta"]
            if line["balance"] != total or total < 0:
                yield Problem(f"a line says {line['balance']} where {total} is left: {line}", user=user)
        if account.balance is not None and account.balance != total:
            yield Problem(f"the balance is {account.balance}, the ledger's sum {total}", user=user)
        if account.balance is None and account.ledger:
            yield Problem("a ledger without a balance", user=user)


def _tasks(evidence: Evidence) -> Iterator[Problem]:
    erased = _erased(evidence)
    for user, account in evidence.accounts.items():
        kinds: dict[str, Counter[str]] = defaultdict(Counter)
        for line in account.ledger:
            if line.get("taskId"):
                kinds[line["taskId"]][line["kind"]] += 1
        for task_id, record in _records_of(evidence, user).items():
            yield from _of_task(task_id, record, kinds.pop(task_id, Counter()))
        if user not in erased:
            for task_id in kinds:
                yield Problem("the ledger has a line of a task that is none", task_id, user)


def _of_task(task_id: str, record: Record, kinds: Counter[str]) -> Iterator[Problem]:
    debits = 0 if record["cost"] == "0" else 1
    refunds = debits if record["state"] != "done" else 0
    if (kinds["debit"], kinds["refund"]) != (debits, refunds):
        yield Problem(
            f"{record['state']}, cost {record['cost']}: {kinds['debit']} debits, {kinds['refund']} refunds",
            task_id,
        )
    if (record["refunded"] == "1") != bool(refunds):
        yield Problem(f"{record['state']}, and the record says refunded={record['refunded']}", task_id)


def _balances(evidence: Evidence) -> Iterator[Problem]:
    """A deleted user's records are gone, and so is what their coins were spent on."""
    for user in evidence.accounts.keys() - _erased(evidence):
        records = _records_of(evidence, user).values()
        spent = sum(int(record["cost"]) for record in records if record["state"] == "done")
        balance = evidence.accounts[user].balance
        if records and balance != evidence.initial_quota - spent:
            yield Problem(f"the balance is {balance}; {evidence.initial_quota} - {spent} was due", user=user)


def _records_of(evidence: Evidence, user: str) -> dict[str, Record]:
    return {task_id: record for task_id, record in evidence.records.items() if record["userId"] == user}


def _erased(evidence: Evidence) -> set[str]:
    return {task.user for task in evidence.taken if task.erased}
