package rights_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/runtime/sink/rights"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]*rights.Denial{
		`Permissions Violation for Publish to "cdc.shop.a\"b"`:                  {Subject: `cdc.shop.a"b`},
		`Permissions Violation for Publish to "$JS.API.INFO" on connection [5]`: {Subject: "$JS.API.INFO"},
		`Permissions Violation for Subscription to "_INBOX.x.*"`:                {Subject: "_INBOX.x.*", Subscribe: true},
		`Permissions Violation for Subscription to "_INBOX.x.*" (sid "1")`:      {Subject: "_INBOX.x.*", Subscribe: true},
		`Permissions Violation for Subscription to "a" using queue "q"`:         {Subject: "a", Subscribe: true},
		`Permissions Violation for Publish with Reply of "x"`:                   nil,
		`Permissions Violation for Publish to cdc.shop.a`:                       nil,
		`Permissions Violation for Publish to "cdc`:                             nil,
	} {
		got, ok := rights.Parse(fmt.Errorf("%w: %s", nats.ErrPermissionViolation, text))
		if ok != (want != nil) {
			t.Errorf("%s: %+v, %v", text, got, ok)
		} else if diff := cmp.Diff(want, got); ok && diff != "" {
			t.Errorf("%s:\n%s", text, diff)
		}
	}
	if d, ok := rights.Parse(errors.New(`Permissions Violation for Publish to "a"`)); ok {
		t.Errorf("another error is %+v", d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("cdc.shop.orders", " on connection [5]")
	f.Fuzz(func(t *testing.T, subject, more string) {
		d, ok := rights.Parse(fmt.Errorf("%w: Permissions Violation for Publish to %s%s", nats.ErrPermissionViolation, strconv.Quote(subject), more))
		if !ok || d.Subject != subject && strings.ToValidUTF8(subject, "") == subject {
			t.Errorf("%q: %+v, %v", subject, d, ok)
		}
		_, _ = rights.Parse(fmt.Errorf("%w: %s", nats.ErrPermissionViolation, more)) // whatever it is
	})
}
