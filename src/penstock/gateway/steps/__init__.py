"""The steps of a request, one file each; `penstock.gateway.pipeline` says in which order."""
