// Package commitlog keeps the partitions' logs of one data directory: durable, in Kafka's files.
package commitlog
