package view

import (
	"encoding/binary"
	"fmt"

	"github.com/hashicorp/go-memdb"

	"switchback/cmd/internal/admin"
	"switchback/offsets"
)

// Tables. Every row is one of the types below, a value that is not changed once
// it is in: readers hold on to what it refers to.
const (
	processTable   = "process" // one row
	brokerTable    = "brokers"
	routeTable     = "routes"
	partitionTable = "partitions"
	lagTable       = "lags"
	clientTable    = "clients"
)

var tables = []string{processTable, brokerTable, routeTable, partitionTable, lagTable, clientTable}

// A row knows the key that it is found by.
type row interface{ key() []byte }

type (
	processRow   struct{ admin.Process }
	brokerRow    struct{ admin.Broker }
	routeRow     struct{ admin.Route }
	partitionRow struct{ admin.Partition }
	lagRow       struct {
		at offsets.Partition
		admin.Lag
	}
	clientRow struct{ admin.Connection }
)

func (processRow) key() []byte { return []byte{0} }

func (r brokerRow) key() []byte { return binary.BigEndian.AppendUint32(nil, uint32(r.Node)) }

// A unit's name ends its key with a zero byte, as memdb wants keys that are not
// prefixes of each other.
func (r routeRow) key() []byte { return append([]byte(r.Unit), 0) }

func (r partitionRow) key() []byte {
	return partitionKey(offsets.Partition{Topic: r.TopicID, Index: r.Index})
}

func (r lagRow) key() []byte { return partitionKey(r.at) }

func (r clientRow) key() []byte { return binary.BigEndian.AppendUint64(nil, r.Connection.Connection) }

func partitionKey(p offsets.Partition) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(nil), p.Topic[:]...), uint32(p.Index))
}

// keyIndex is the only index there is: the key of the row.
type keyIndex struct{}

func (keyIndex) FromObject(raw any) (bool, []byte, error) {
	r, ok := raw.(row)
	if !ok {
		return false, nil, fmt.Errorf("index row: %T is none", raw)
	}
	return true, r.key(), nil
}

// PrefixFromArgs lets a table be walked and watched as a whole: by the prefix of
// no bytes.
func (i keyIndex) PrefixFromArgs(args ...any) ([]byte, error) { return i.FromArgs(args...) }

func (keyIndex) FromArgs(args ...any) ([]byte, error) {
	if len(args) == 1 {
		if key, ok := args[0].([]byte); ok {
			return key, nil
		}
	}
	return nil, fmt.Errorf("index key: want one []byte, have %d arguments", len(args))
}

func schema() *memdb.DBSchema {
	s := &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{}}
	for _, name := range tables {
		s.Tables[name] = &memdb.TableSchema{Name: name, Indexes: map[string]*memdb.IndexSchema{
			"id": {Name: "id", Unique: true, Indexer: keyIndex{}},
		}}
	}
	return s
}
