// Package metric holds a node's figures: counters, histograms and gauges, and writes them for Prometheus.
package metric

import _ "github.com/prometheus/client_golang/prometheus/promhttp"
