// Package config knows every setting: its name, type, default, rule and
// meaning, and what a node or a topic ends up with when several places set it.
//
// Duty: the tables (table_broker.go, table_topic.go, table_group.go) hold the
// keys of Apache Kafka 4.4 and the few of Moldau's own; around them are the
// check of a value, the layers of a broker's settings (dynamic per broker,
// dynamic for the cluster, static, default), the resolved settings of a topic
// and a group, the answer to DescribeConfigs (KIP-226), the reader of
// server.properties, and the checks of settings against one another.
//
// Invariants: a table is sorted by name. A resolved value has passed its rule.
// [Broker], [TopicConfig] and [GroupConfig] never change once made; a dynamic
// change makes a new one. Everything takes bytes and strings: no file, no
// environment, no clock.
//
// Callers: the command line (reading settings), the wiring of a node, the
// controller (checking changes) and the handlers of the config APIs.
//
// It must never act on a setting: what a key does is decided where it is read.
package config
