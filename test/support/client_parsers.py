"""Parses a page from stdin as `text` or `openmetrics` with the Prometheus client for Python. Prints the metric families with their types, samples and exemplars."""
import json
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

parse = {"text": parser.text_string_to_metric_families, "openmetrics": openmetrics.text_string_to_metric_families}
def exemplars(family):
    return [[sample.exemplar.labels, sample.exemplar.value] for sample in family.samples if sample.exemplar]


families = [[family.name, family.type, len(family.samples), exemplars(family)] for family in parse[sys.argv[1]](sys.stdin.read())]
json.dump(families, sys.stdout)
