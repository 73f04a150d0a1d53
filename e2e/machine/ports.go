package machine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports come from below the range from which kernels take the ports of outgoing connections, so that a server can be
// killed and started again on its own port without finding a stranger's connection there.
const (
	firstPort = 12000
	lastPort  = 31999
)

// claims keeps the abstract unix sockets that mark ports as taken: a name in the kernel that is ours until this process ends.
var claims struct {
	sync.Mutex
	held []net.Listener
}

// Ports returns the first of n consecutive TCP ports on loopback that nothing listens on and that no other caller, in this
// process or in another one, is handed while this process lives.
func Ports(n int) (first int, err error) {
	if n < 1 || n > lastPort-firstPort {
		return 0, fmt.Errorf("claim ports: %d is not a number of ports", n)
	}
	for range 200 {
		first := firstPort + rand.IntN(lastPort-firstPort-n)
		if claim(first, n) {
			return first, nil
		}
	}
	return 0, errors.New("claim ports: no free range found in 200 tries")
}

func claim(first, n int) bool {
	var held []net.Listener
	for port := first; port < first+n; port++ {
		mark, err := net.Listen("unix", fmt.Sprintf("@switchback-e2e-port-%d", port))
		if err != nil {
			break
		}
		held = append(held, mark)
		probe, err := net.Listen("tcp", Loopback(port))
		if err != nil {
			break
		}
		probe.Close()
		if port == first+n-1 {
			claims.Lock()
			claims.held = append(claims.held, held...)
			claims.Unlock()
			return true
		}
	}
	for _, mark := range held {
		mark.Close()
	}
	return false
}

// Loopback returns the address of a port on the loopback interface.
func Loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
