package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/tropocloud/tropo/fault"
)

func TestKinds(t *testing.T) {
	cause := fault.Wrap(fault.Conflict, io.EOF, "The volume is in use.")
	for name, tt := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"none":           {nil, ""},
		"no fault":       {io.EOF, fault.Internal},
		"fault":          {fault.Invalidf("x"), fault.Invalid},
		"wrapped":        {fmt.Errorf("a: %w", cause), fault.Conflict},
		"joined":         {errors.Join(io.EOF, cause), fault.Conflict},
		"outermost wins": {fault.Wrap(fault.NotFound, cause, "Gone."), fault.NotFound},
		"zero kind":      {&fault.Error{}, fault.Internal},
	} {
		if got := fault.KindOf(tt.err); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if !errors.Is(cause, io.EOF) || fault.Is(nil, fault.Internal) {
		t.Error("causes are lost")
	}
	if c := cause.WithType("InUse"); c.Type != "InUse" || cause.Type != "" {
		t.Error("WithType changes its receiver")
	}
}

// A store names what is missing; the API answers 404 with this message, and
// only the log sees the cause.
func Example() {
	err := fmt.Errorf("boot: %w", fault.Missing("Image", "42"))
	f, _ := fault.As(err)
	fmt.Println(f.Kind, "-", f.Message)
	// Output: not-found - Image 42 could not be found.
}
