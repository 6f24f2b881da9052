package plane

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// followParent cancels when whoever started us is gone. Both signs count: a
// killed harness leaves us to another parent, and one that merely lost interest
// closes the pipe to our stdin. A stdin of /dev/null or a terminal says nothing.
func followParent(cancel context.CancelCauseFunc, parent int) {
	go func() {
		for os.Getppid() == parent {
			time.Sleep(200 * time.Millisecond)
		}
		cancel(errors.New("the parent process is gone"))
	}()
	info, err := os.Stdin.Stat()
	if err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel(errors.New("stdin was closed"))
	}()
}
