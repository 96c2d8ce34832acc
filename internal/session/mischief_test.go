//go:build unix

package session

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/towpath/towpath/protocol"
)

// mischiefVariable makes the test binary a worker that does what the variable says once a stage is called, or before.
const mischiefVariable = "TOWPATH_TEST_MISCHIEF"

// fifoVariable names a FIFO that a child of the worker keeps open for writing.
const fifoVariable = "TOWPATH_TEST_FIFO"

// rogue is that worker. It writes frames by hand.
type rogue struct{ r, w *os.File }

// misbehave does not return.
func misbehave(mischief string) {
	w := rogue{r: os.NewFile(3, "from the engine"), w: os.NewFile(4, "to the engine")}
	for {
		body, err := protocol.ReadFrame(w.r)
		if err != nil {
			os.Exit(0)
		}
		var m struct {
			ID     uint64
			Method string
		}
		if err := json.Unmarshal(body, &m); err != nil {
			panic(err)
		}
		if m.Method == mischief {
			os.Exit(4)
		}
		switch m.Method {
		case protocol.MethodHello:
			w.hello(m.ID, mischief)
		case protocol.MethodPing, protocol.MethodLoad:
			w.answer(m.ID, "{}")
		case protocol.MethodDescribe:
			w.describe(m.ID, mischief)
		case protocol.MethodStageCall:
			w.called(m.ID, mischief)
		}
	}
}

func (w rogue) send(text string) {
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(text)))
	if _, err := w.w.Write(append(frame, text...)); err != nil {
		os.Exit(0)
	}
}

func (w rogue) answer(id uint64, result string) {
	w.send(fmt.Sprintf(`{"id":%d,"result":%s}`, id, result))
}

func (w rogue) hello(id uint64, mischief string) {
	switch mischief {
	case "mute":
		forever()
	case "another version":
		w.answer(id, `{"protocol":2,"sdk":{"language":"go","version":"9","runtime":"go9"},"capabilities":[]}`)
	case "unsupported":
		w.send(fmt.Sprintf(`{"id":%d,"error":{"code":"unsupported","message":"only version 9"}}`, id))
	case "garbage at once":
		w.send("hello, world")
	default:
		w.answer(id, `{"protocol":1,"sdk":{"language":"go","version":"1","runtime":"go1.26"},"capabilities":[]}`)
	}
}

func (w rogue) describe(id uint64, mischief string) {
	switch mischief {
	case "a cycle":
		w.answer(id, `{"plan":{"version":1,"stages":[{"name":"a","function":"a","doc":"","kind":"stage","inputs":[],"output":"int","after":["a"],"policy":{}}],"params":[]},"sites":{"a":{"file":"pipeline.py","line":3}}}`)
	case "no plan":
		w.answer(id, `{"plan":[],"sites":{}}`)
	case "no canonical plan":
		w.answer(id, `{"plan":{"version":1,"version":1},"sites":{}}`)
	default:
		w.answer(id, `{"plan":{"version":1,"stages":[],"params":[]},"sites":{}}`)
	}
}

func (w rogue) called(id uint64, mischief string) {
	switch mischief {
	case "closes its pipe":
		w.r.Close()
		w.w.Close()
		forever()
	case "half a frame":
		if _, err := w.w.Write([]byte{0, 0, 1, 0, '{'}); err != nil {
			panic(err)
		}
		os.Exit(0)
	case "a frame without end":
		if _, err := w.w.Write([]byte{0xff, 0xff, 0xff, 0xff}); err != nil {
			panic(err)
		}
		forever()
	case "garbage":
		w.send(`{"id":`)
		forever()
	case "an unknown message":
		w.send(`{"method":"mystery","params":{}}`)
		forever()
	case "two answers":
		w.answer(id, `{"value":1}`)
		w.answer(id, `{"value":2}`)
		forever()
	case "never", "never stops":
		fmt.Println("called")
	case "stops":
		if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
			panic(err)
		}
	case "spam":
		if _, err := os.Stdout.Write(bytes.Repeat([]byte("spam"), 1<<20)); err != nil {
			panic(err)
		}
		w.answer(id, `{"value":null}`)
	case "child":
		child := exec.Command("sh", "-c", `exec 5>"$`+fifoVariable+`"; while :; do read -r line < "$`+fifoVariable+`.never"; done`)
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			panic(err)
		}
		w.answer(id, `{"value":null}`)
	case "child, then exit":
		// It exits once the child has opened the FIFO: what is left of the group ends with it, and an open FIFO is what the test sees that by.
		ready, tell, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		child := exec.Command("sh", "-c", `exec 5>"$`+fifoVariable+`"; echo ready >&3; exec 3>&-; read -r line < "$`+fifoVariable+`.never"`)
		child.Stdout, child.ExtraFiles = os.Stdout, []*os.File{tell}
		if err := child.Start(); err != nil {
			panic(err)
		}
		if _, err := ready.Read(make([]byte, 6)); err != nil {
			panic(err)
		}
		os.Exit(5)
	default:
		w.answer(id, `{}`)
	}
}

// forever waits for a signal that does not come.
func forever() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	<-c
}
