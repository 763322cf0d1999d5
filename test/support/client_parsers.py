"""Parses a page on stdin by the Python client of Prometheus: as `text` or `openmetrics`. Prints the families, with type and samples."""
import json
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

parse = {"text": parser.text_string_to_metric_families, "openmetrics": openmetrics.text_string_to_metric_families}
families = [[family.name, family.type, len(family.samples)] for family in parse[sys.argv[1]](sys.stdin.read())]
json.dump(families, sys.stdout)
