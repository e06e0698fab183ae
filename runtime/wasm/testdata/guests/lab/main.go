// Command lab is a connector that does as each row says, for the host's tests.
// The row's second column holds a command, such as "edit:new text".
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest"
)

type lab struct {
	rename string
	keep   [][]byte
	rows   int
}

func (l *lab) Init(config []byte) error {
	switch c := string(config); {
	case strings.Contains(c, "refuse"):
		return errors.New("refuse is not an option; leave it out")
	case strings.Contains(c, "panic"):
		panic("init panics")
	case strings.Contains(c, "retype"):
		l.rename = "retype"
	}
	return nil
}

func (l *lab) Schema(in *sdk.Schema) (*sdk.Schema, error) {
	if in.Table == "forbidden" {
		return nil, errors.New("this table is not for me")
	}
	if l.rename == "" {
		return nil, nil
	}
	out := *in
	out.Columns = append([]sdk.Column(nil), in.Columns...)
	out.Columns[0].Type = sdk.TypeString
	return &out, nil
}

var sink int

// recurse has no end, and a frame that can't be optimised away.
func recurse(n *int) int {
	m := *n + 1
	return recurse(&m) + m
}

func (l *lab) Row(r sdk.Row, out *guest.Output) (sdk.Verdict, error) {
	l.rows++
	m := r.After()
	if !m.Valid() {
		m = r.Before()
	}
	command, arg, _ := strings.Cut(string(m.Bytes(1)), ":")
	n, _ := strconv.Atoi(arg)
	switch command {
	case "drop":
		return sdk.VerdictDrop, nil
	case "edit":
		if l.rename != "" {
			if err := m.SetBytes(0, []byte("id")); err != nil {
				return 0, err
			}
		}
		return sdk.VerdictEdited, m.SetBytes(1, []byte(arg))
	case "grow":
		return sdk.VerdictEdited, m.SetBytes(1, make([]byte, n))
	case "count":
		return sdk.VerdictEdited, m.SetBytes(1, strconv.AppendInt(nil, int64(l.rows), 10))
	case "now":
		text := fmt.Sprint(time.Now().UTC().Format(time.RFC3339Nano), " ", os.Getpid() >= 0, " ", len(os.Args))
		return sdk.VerdictEdited, m.SetBytes(1, []byte(text))
	case "sleep":
		t := time.Now()
		time.Sleep(time.Duration(n) * time.Millisecond)
		return sdk.VerdictEdited, m.SetBytes(1, []byte(time.Since(t).Truncate(time.Millisecond).String()))
	case "file":
		_, err := os.ReadFile("/etc/passwd")
		return sdk.VerdictEdited, m.SetBytes(1, []byte(fmt.Sprint(err != nil)))
	case "replace":
		for range n {
			out.Copy(r)
		}
		return sdk.VerdictReplaced, nil
	case "route":
		out.Route(r, []byte(arg), []byte("key"), []byte("A: b\n"))
		return sdk.VerdictReplaced, nil
	case "new":
		b := out.Begin(r.Schema(), sdk.OpInsert, sdk.RowAfter)
		b.After().SetSlot(0, uint64(n))
		b.SetBytes(b.After(), 1, []byte("new"))
		out.End()
		return sdk.VerdictReplaced, nil
	case "dead":
		out.Refuse(arg)
		return sdk.VerdictDeadLetter, nil
	case "error":
		return 0, errors.New(arg)
	case "stop":
		return 0, &sdk.Error{Code: sdk.CodeInternal, Message: arg}
	case "verdict":
		return sdk.Verdict(n), nil
	case "print":
		fmt.Println(arg)
	case "panic":
		panic(arg)
	case "exit":
		os.Exit(n)
	case "work":
		for range n {
			sink++
		}
	case "recurse":
		recurse(&l.rows)
	case "loop":
		for {
			sink++
		}
	case "hoard":
		for {
			l.keep = append(l.keep, make([]byte, 1<<20))
		}
	}
	return sdk.VerdictPass, nil
}

var _ = guest.Register(&lab{})

func main() {}
