"""The console: pages that each answer one question from the ledger, with their JSON and CSV twins."""
