"""What is kept beside a ledger that tests make up: a page that reads it fails, for there is no such database."""

from penstock.adapters.stores import open_documents
from penstock.adapters.stores.audit import DocumentAudit
from penstock.console.context import Papers
from penstock.finops.budgets.of_keys import KeyBudgets

_NOWHERE = open_documents("sqlite:////nowhere/papers.db")
NO_PAPERS = Papers(_NOWHERE, DocumentAudit(_NOWHERE), KeyBudgets(tuple))
