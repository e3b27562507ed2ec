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

// Calls that AWS throttles or cannot answer at the moment (5xx) are retried
// until the caller's context ends. The SDK would stop after three attempts,
// about 8 s. When many processes start at once, most of them need longer.
const (
	// Waits between attempts double from firstRetry to lastRetry, minus a
	// random part of up to one half. The longest wait is short enough to use
	// capacity soon after it becomes free, and long enough that 50 processes
	// together make about 13 calls a second.
	firstRetry = 500 * time.Millisecond
	lastRetry  = 5 * time.Second

	// retryTime is how long retries go on if no context ends them earlier.
	retryTime = 5 * time.Minute

	// slowAfter is how long a call may take before the user is told why.
	slowAfter = 3 * time.Second

	// sendAttempts is how often to try a call that does not reach AWS.
	sendAttempts = 3
)

// retries is an aws.Retryer without the retry quota of the SDK's own. Each
// process keeps that quota for itself, so it would not limit many processes,
// and it would end the attempts of a process that waits its turn.
type retries struct {
	max    int // maximum number of attempts; 0 means no limit
	checks retry.IsErrorRetryables
	limits retry.IsErrorThrottles
	only   func(error) bool // which errors to retry; nil means all that are retryable
}

// withRetries makes all clients of cfg use retries. It calls notice when a call
// takes long because of them.
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

// busy reports whether err says that AWS is too busy for the call.
func (r *retries) busy(err error) bool {
	return r.throttled(err) || statusOf(err) >= http.StatusInternalServerError
}

func (r *retries) throttled(err error) bool {
	return r.limits.IsErrorThrottle(err) == aws.TrueTernary || statusOf(err) == http.StatusTooManyRequests
}

// statusOf returns the HTTP status, or 0 if there was no answer.
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

// callWatch is a middleware around a call and all its attempts.
type callWatch struct{ notice func(string) }

// callKey is the context key of a call's watchedCall.
type callKey struct{}

// watchedCall is a call in progress.
type watchedCall struct {
	notice func(string)
	began  time.Time

	mu   sync.Mutex
	last error // AWS's last refusal
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

// refused records that AWS has refused the call for now. An error ends the
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
		what = "AWS is throttling"
	}
	c.notice(safetext.Printable(fmt.Sprintf("%s %s calls (%s); trying again", what, awsmw.GetOperationName(ctx), busyText(err))))
	return nil
}

// busyText returns the service's error code, or else the HTTP status.
func busyText(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return fmt.Sprintf("HTTP status %d", statusOf(err))
}

// BusyError says that time ran out for a call that AWS kept refusing, and how
// AWS refused it.
type BusyError struct{ cause, last error }

func (e *BusyError) Error() string   { return Cause(e.cause) + ": " + Cause(e.last) }
func (e *BusyError) Unwrap() []error { return []error{e.cause, e.last} }

// CauseOf returns why a call failed, given that its context may have ended.
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
