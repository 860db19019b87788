"""The hub's HTTP doors: probes and figures for every process, and the API for the participants' machines."""
