package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// serveSplice is a part: a relay that does nothing but hand bytes on, which the kernel does for it (splice). It prints its address, relays to the
// address in the environment and runs until ctx ends.
func serveSplice(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start relay: %w", err)
	}
	context.AfterFunc(ctx, func() { l.Close() })
	fmt.Println(l.Addr())
	to := os.Getenv(spliceTo)
	accept(l, func(client net.Conn) error {
		server, err := net.Dial("tcp", to)
		if err != nil {
			return err
		}
		back := make(chan error, 1)
		go func() {
			_, err := io.Copy(client, server)
			client.Close()
			back <- err
		}()
		_, err = io.Copy(server, client)
		server.Close()
		return errors.Join(err, <-back)
	})
	return nil
}

// spliceTo names the variable with the address that the relay relays to.
const spliceTo = "BENCH_RELAY_TO"
