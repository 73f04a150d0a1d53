package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Ports is a range of ports, First and Last included. The zero value takes
// free ports, which a client would have to learn again after a restart: for
// tests and demos.
type Ports struct{ First, Last int }

// Count is the number of ports in the range, 0 when they are taken free.
func (p Ports) Count() int {
	if p.First == 0 {
		return 0
	}
	return p.Last - p.First + 1
}

func (p Ports) String() string {
	if p.First == 0 {
		return "0"
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// portsToEnd is the length of a range that is given by its start alone.
const portsToEnd = 100

// ParsePorts reads "19093-19192", "19093" (a hundred ports from there on) or
// "0" (free ones).
func ParsePorts(s string) (Ports, error) {
	bad := fmt.Errorf("%q is not a range of ports: write \"19093-19192\", a first port, or 0 for free ones", s)
	lo, hi, ranged := strings.Cut(s, "-")
	first, err := strconv.Atoi(strings.TrimSpace(lo))
	if err != nil {
		return Ports{}, bad
	}
	last := min(first+portsToEnd-1, 65535)
	if ranged {
		if last, err = strconv.Atoi(strings.TrimSpace(hi)); err != nil {
			return Ports{}, bad
		}
	} else if first == 0 {
		return Ports{}, nil
	}
	if first < 1 || last > 65535 || last < first {
		return Ports{}, bad
	}
	return Ports{First: first, Last: last}, nil
}
