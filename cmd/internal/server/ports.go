package server

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"switchback/cmd/internal/config"
	"switchback/storage/catalog"
)

const portsPrefix = "ports/"

// ports gives every legacy node its port in the configured range, and remembers
// it in the catalog: clients keep addresses across our restarts.
type ports struct {
	cat  catalog.Catalog
	from config.Ports
	mu   sync.Mutex
}

// Port returns the port of a node, 0 where the range says free ones.
func (p *ports) Port(node int32) (int, error) {
	if p.from.Count() == 0 {
		return 0, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	given, err := p.cat.List(ctx, portsPrefix)
	if err != nil {
		return 0, fmt.Errorf("give node %d a port: %w", node, err)
	}
	taken := map[int]bool{}
	for _, kv := range given {
		port, err := strconv.Atoi(string(kv.Value))
		if err != nil {
			return 0, fmt.Errorf("read port of node %s: %w", strings.TrimPrefix(kv.Key, portsPrefix), err)
		}
		if kv.Key == portKey(node) && port >= p.from.First && port <= p.from.Last {
			return port, nil
		}
		taken[port] = true
	}
	for port := p.from.First; port <= p.from.Last; port++ {
		if taken[port] {
			continue
		}
		_, err := p.cat.Txn(ctx, nil, []catalog.Op{{Key: portKey(node), Value: []byte(strconv.Itoa(port))}})
		if err != nil {
			return 0, fmt.Errorf("keep port %d for node %d: %w", port, node, err)
		}
		return port, nil
	}
	return 0, fmt.Errorf("give node %d a port: all %d ports of %s are taken by other nodes: make `ports` in the configuration larger", node, p.from.Count(), p.from)
}

func portKey(node int32) string { return portsPrefix + strconv.Itoa(int(node)) }
