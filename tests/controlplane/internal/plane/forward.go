package plane

import (
	"fmt"
	"io"
	"net"
	"strconv"
)

// forward serves the API on one more address. kube-apiserver binds to a single
// address, and binding to all of them would expose a test cluster to the
// network, so connections are copied. The audit log sees them from loopback.
func forward(address string, port int) (io.Closer, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("--bind %s: %w", address, err)
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go relay(connection, hostPort(port))
		}
	}()
	return listener, nil
}

func relay(near net.Conn, target string) {
	defer near.Close()
	far, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer far.Close()
	ended := make(chan struct{}, 2)
	copyTo := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		ended <- struct{}{}
	}
	go copyTo(far, near)
	go copyTo(near, far)
	// TLS ends both directions at once: the first end is the end.
	<-ended
}
