package pipeline

import "github.com/cdcd-io/cdcd/internal/fault"

// faultOf returns err's fault when it has the code, else nil.
func faultOf(err error, code string) *fault.Fault {
	if !fault.HasCode(err, code) {
		return nil
	}
	return fault.Of(err)
}
