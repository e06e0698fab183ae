package rights

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// Denial is one thing that a NATS server refused for want of a right.
type Denial struct {
	Subject   string
	Subscribe bool // to Subject; otherwise it is publishing to it that is refused
}

// Error implements error.
func (d *Denial) Error() string {
	if d.Subscribe {
		return "the NATS user may not subscribe to " + d.Subject
	}
	return "the NATS user may not publish to " + d.Subject
}

// What nats-server writes (client.go, pubPermissionViolation and its like).
const (
	toPublish   = "Permissions Violation for Publish to "
	toSubscribe = "Permissions Violation for Subscription to "
)

// Parse reads a Denial from an error that a connection of nats.go reports.
func Parse(err error) (*Denial, bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return nil, false
	}
	text := err.Error()
	for _, form := range []string{toPublish, toSubscribe} {
		if _, rest, found := strings.Cut(text, form); found {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, false
			}
			subject, err := strconv.Unquote(quoted)
			return &Denial{Subject: subject, Subscribe: form == toSubscribe}, err == nil
		}
	}
	return nil, false
}

// Needed are the rights that something can't do without: subjects, with NATS's
// wildcards.
type Needed struct {
	Publish, Subscribe []string
}

// String returns the block as nats-server's configuration has it.
func (n Needed) String() string {
	list := func(subjects []string) string {
		quoted := make([]string, len(subjects))
		for i, s := range subjects {
			quoted[i] = strconv.Quote(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return fmt.Sprintf("permissions: {publish: %s, subscribe: %s}", list(n.Publish), list(n.Subscribe))
}

// Fault returns the fault that names what was refused, and what is needed. It is
// retryable: a right may be granted at any time.
func (d *Denial) Fault(path string, need Needed) *fault.Fault {
	return fault.New(fault.Retryable, sink.CodeDenied, path,
		fmt.Sprintf("give the user what is needed, %v, and reload the server; cdcd goes on by itself", need), "%w", d)
}
