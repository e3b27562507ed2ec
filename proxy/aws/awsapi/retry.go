package awsapi

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmw "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithymw "github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// What AWS refuses because it is asked too often, or cannot answer at the
// moment (5xx), is asked again until the caller's context ends. The SDK would
// stop after three attempts, which is some 8 s: when many processes start at
// once, most of them need longer.
const (
	// Waits between attempts, of which a random part of one half is taken off:
	// from firstRetry doubling up to lastRetry. The longest is short enough that
	// whoever waits gets the turn that comes free, and long enough that 50
	// processes together make some 13 calls a second.
	firstRetry = 500 * time.Millisecond
	lastRetry  = 5 * time.Second

	// retryTime is how long that goes on where no context ends it before.
	retryTime = 5 * time.Minute

	// slowAfter is how long a call may take before the user is told why.
	slowAfter = 3 * time.Second

	// sendAttempts is how often a call is made that does not reach AWS.
	sendAttempts = 3
)

// retries is the SDK's way to try again. It has no quota for retries as the
// SDK's own have: that is kept by each process for itself, so it does nothing
// against many processes, and would end the attempts of one that waits its turn.
type retries struct {
	max    int // attempts; 0: no limit
	checks retry.IsErrorRetryables
	limits retry.IsErrorThrottles
	only   func(error) bool // what is tried again at all; nil: all that can be
}

// withRetries has all clients of cfg try again as retries does. notice is told
// of a call that takes long because of it.
func withRetries(notice func(string)) (retryer func() aws.Retryer, options []func(*smithymw.Stack) error) {
	one := newRetries()
	return func() aws.Retryer { return one }, []func(*smithymw.Stack) error{func(stack *smithymw.Stack) error {
		return stack.Initialize.Add(&callWatch{notice}, smithymw.Before)
	}}
}

func newRetries() *retries {
	max, err := strconv.Atoi(os.Getenv("AWS_MAX_ATTEMPTS"))
	if err != nil || max < 0 {
		max = 0
	}
	return &retries{max: max, checks: retry.DefaultRetryables, limits: retry.DefaultThrottles}
}

// busy says whether AWS has too much to do for the call that err is about.
func (r *retries) busy(err error) bool {
	return r.throttled(err) || statusOf(err) >= http.StatusInternalServerError
}

func (r *retries) throttled(err error) bool {
	return r.limits.IsErrorThrottle(err) == aws.TrueTernary || statusOf(err) == http.StatusTooManyRequests
}

// statusOf is HTTP's, 0 if there was no answer.
func statusOf(err error) int {
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

// IsErrorRetryable implements aws.Retryer.
func (r *retries) IsErrorRetryable(err error) bool {
	if r.only != nil && !r.only(err) {
		return false
	}
	return r.busy(err) || r.checks.IsErrorRetryable(err) == aws.TrueTernary
}

// MaxAttempts implements aws.Retryer.
func (r *retries) MaxAttempts() int { return r.max }

// RetryDelay implements aws.Retryer.
func (r *retries) RetryDelay(attempt int, err error) (time.Duration, error) {
	if attempt >= sendAttempts && !r.busy(err) {
		return 0, err
	}
	d := min(firstRetry<<min(max(attempt-1, 0), 10), lastRetry)
	return d/2 + rand.N(d/2), nil
}

// GetRetryToken implements aws.Retryer. It is called before each wait.
func (r *retries) GetRetryToken(ctx context.Context, err error) (release func(error) error, _ error) {
	if call, ok := smithymw.GetStackValue(ctx, callKey{}).(*watchedCall); ok && r.busy(err) {
		return noRelease, call.refused(ctx, err, r.throttled(err))
	}
	return noRelease, nil
}

// GetInitialToken implements aws.Retryer.
func (r *retries) GetInitialToken() func(error) error { return noRelease }

// GetAttemptToken implements aws.RetryerV2.
func (r *retries) GetAttemptToken(context.Context) (func(error) error, error) { return noRelease, nil }

func noRelease(error) error { return nil }

// callWatch is a middleware around a call with all its attempts.
type callWatch struct{ notice func(string) }

// callKey is where the context of a call has its watchedCall.
type callKey struct{}

// watchedCall is a call that is under way.
type watchedCall struct {
	notice func(string)
	began  time.Time

	mu   sync.Mutex
	last error // what AWS refused it with
	told bool
}

// ID implements the SDK's middleware.
func (*callWatch) ID() string { return "ssmpipe/callWatch" }

// HandleInitialize implements the SDK's middleware.
func (w *callWatch) HandleInitialize(ctx context.Context, in smithymw.InitializeInput, next smithymw.InitializeHandler) (
	smithymw.InitializeOutput, smithymw.Metadata, error) {
	call := &watchedCall{notice: w.notice, began: time.Now()}
	out, md, err := next.HandleInitialize(smithymw.WithStackValue(ctx, callKey{}, call), in)
	if err != nil && ctx.Err() != nil && call.last != nil {
		err = &BusyError{context.Cause(ctx), call.last}
	}
	return out, md, err
}

// refused takes in that AWS has refused the call for now. An error ends the
// attempts.
func (c *watchedCall) refused(ctx context.Context, err error, throttled bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = err
	lasted := time.Since(c.began)
	if lasted > retryTime {
		return fmt.Errorf("after %v", lasted.Round(time.Second))
	}
	if c.told || lasted < slowAfter {
		return nil
	}
	c.told = true
	what := "AWS cannot serve"
	if throttled {
		what = "AWS limits"
	}
	c.notice(safetext.Printable(fmt.Sprintf("%s %s calls (%s); trying again", what, awsmw.GetOperationName(ctx), busyText(err))))
	return nil
}

// busyText is the service's word, short.
func busyText(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return fmt.Sprintf("HTTP status %d", statusOf(err))
}

// BusyError says that the time for a call is over, and with what AWS refused it
// all the while.
type BusyError struct{ cause, last error }

func (e *BusyError) Error() string   { return Cause(e.cause) + ": " + Cause(e.last) }
func (e *BusyError) Unwrap() []error { return []error{e.cause, e.last} }

// CauseOf is why a call has failed whose context may have ended.
func CauseOf(ctx context.Context, err error) error {
	var busy *BusyError
	if err == nil || ctx.Err() == nil {
		return err
	}
	if errors.As(err, &busy) {
		return &BusyError{context.Cause(ctx), busy.last}
	}
	return context.Cause(ctx)
}
