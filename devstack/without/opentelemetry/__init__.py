"""OpenTelemetry, as a function finds it whose environment does not say `telemetry = true`: not there.

Libraries (redis, langsmith) load it wherever it is installed, a tenth of a second for nothing.
"""

raise ModuleNotFoundError("No module named 'opentelemetry': this function is to do without", name=__name__)
