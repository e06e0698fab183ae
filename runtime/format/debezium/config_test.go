package debezium

import (
	"fmt"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
)

func TestValidate(t *testing.T) {
	if f := NewConfig().Validate(); len(f) != 0 {
		t.Errorf("the defaults: %v", f)
	}
	c := Config{Connector: "postgresql", DecimalHandlingMode: "exact", BigintUnsignedHandlingMode: "", SkippedOperations: []string{"t", "r", "c", ""}}
	var paths []string
	for _, f := range c.Validate() {
		paths = append(paths, f.Path)
		if f.Code != CodeConfig || f.Class != fault.Config || f.Hint == "" {
			t.Errorf("%+v", f)
		}
	}
	if want := "[connector decimal_handling_mode bigint_unsigned_handling_mode skipped_operations[1] skipped_operations[3]]"; fmt.Sprint(paths) != want {
		t.Errorf("%v, want %v", paths, want)
	}
}

// Formats that are made without a configuration have the defaults.
func TestKind(t *testing.T) {
	k := Kind()
	for _, config := range []any{nil, k.NewConfig()} {
		if f := k.New(config).(*Format); !f.cfg.Tombstones || f.cfg.Schemas || f.cfg.Connector != "mysql" || f.cfg.DecimalHandlingMode != "precise" {
			t.Errorf("%+v", f.cfg)
		}
	}
}
