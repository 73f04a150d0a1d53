// Package storage keeps the logs of all partitions of a node.
package storage
