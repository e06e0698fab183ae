package lines

import (
	"context"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// Cursor is the Claim and the tokens of a Target whose place can't be asked what
// it has: the checkpoint is all that is known.
type Cursor struct {
	Name string     // of the target, for faults
	at   sink.Place // of the last message; empty where its group's base was exact
}

// exact is the token behind a message that has no place.
const exact = "-"

// Claim implements Target's. Inside a transaction the checkpoint's position is
// before the transaction, and its token has the place.
func (c *Cursor) Claim(ctx context.Context, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	c.at = sink.Place{}
	if hint.Token == "" && hint.Position != "" {
		hint.Token, hint.Exact = exact, true
	}
	if hint.Token == "" {
		base, err := initial(ctx)
		return sink.Anchor{Base: base, Epoch: 1}, err
	}
	if hint.Token != exact {
		at, err := sink.ParsePlace(hint.Token)
		if err != nil {
			return sink.Anchor{}, fault.New(fault.Fatal, "bad_token", c.Name, "restore the checkpoint", "%w", err)
		}
		c.at = at
	}
	a := sink.Anchor{Base: hint.Position, Found: true, Epoch: 1, Messages: hint.Messages, Replays: hint.Replays}
	if !hint.Exact {
		a.At = c.at
	}
	return a, nil
}

// Token names a group's last message.
func (c *Cursor) Token(g *sink.Group) string {
	if n := len(g.Messages); n > 0 {
		c.at = g.Messages[n-1].Place
	}
	if c.at.Tx == "" {
		return exact
	}
	return c.at.String()
}
