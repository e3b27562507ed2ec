package aws

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// Sessions implements driver.SessionLister. The user's own sessions are those
// whose owner is the ARN that STS returns for the credentials.
func (s *service) Sessions(ctx context.Context, q driver.SessionQuery, page func([]driver.Session) error) error {
	me := ""
	if q.Mine {
		out, err := sts.NewFromConfig(s.cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return awsapi.CauseOf(ctx, err)
		}
		me = aws.ToString(out.Arn)
	}
	filter := func(key ssmtypes.SessionFilterKey, value string) (f []ssmtypes.SessionFilter) {
		if value != "" {
			f = append(f, ssmtypes.SessionFilter{Key: key, Value: &value})
		}
		return f
	}
	request := &ssm.DescribeSessionsInput{
		State:      ssmtypes.SessionStateActive,
		MaxResults: aws.Int32(200),
		Filters:    append(filter(ssmtypes.SessionFilterKeyOwner, me), filter(ssmtypes.SessionFilterKeyTargetId, q.Target)...),
	}
	for {
		out, err := ssm.NewFromConfig(s.cfg).DescribeSessions(ctx, request)
		if err != nil {
			return awsapi.CauseOf(ctx, err)
		}
		var list []driver.Session
		for i := range out.Sessions {
			list = append(list, s.session(&out.Sessions[i], me))
		}
		slices.SortStableFunc(list, func(a, b driver.Session) int { return b.Started.Compare(a.Started) })
		if err := page(list); err != nil {
			return err
		}
		if request.NextToken = out.NextToken; aws.ToString(out.NextToken) == "" {
			return nil
		}
	}
}

// session converts Systems Manager's description of a session.
func (s *service) session(from *ssmtypes.Session, me string) driver.Session {
	owner := aws.ToString(from.Owner)
	return driver.Session{
		ID:       aws.ToString(from.SessionId),
		Target:   aws.ToString(from.Target),
		Region:   s.cfg.Region,
		Owner:    owner,
		Document: aws.ToString(from.DocumentName),
		Status:   string(from.Status),
		Started:  aws.ToTime(from.StartDate),
		Reason:   aws.ToString(from.Reason),
		Foreign:  me != "" && !sameOwner(owner, me),
	}
}

// sameOwner compares ARNs, which the service has been seen to write without the
// prefix "arn:".
func sameOwner(a, b string) bool {
	return strings.TrimPrefix(a, "arn:") == strings.TrimPrefix(b, "arn:")
}

// EndSession implements driver.SessionLister.
func (s *service) EndSession(ctx context.Context, id string) error {
	_, err := ssm.NewFromConfig(s.cfg).TerminateSession(ctx, &ssm.TerminateSessionInput{SessionId: &id})
	if awsapi.IsCode(err, "DoesNotExistException") {
		return nil
	}
	return err
}
