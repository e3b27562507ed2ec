package inventory

import (
	"context"
	"slices"
	"sync"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

const (
	// ssmPage is the service's largest page size, and how many ids to ask for
	// at once.
	ssmPage = 50

	// ssmParallel is how many such pages to request at a time: about a second
	// for 2,000 instances, within the service's limits.
	ssmParallel = 4
)

// List calls page with all instances and managed nodes as pages arrive: EC2's
// first, managed nodes last. page is called by one goroutine at a time, and
// List stops if it returns an error.
func (s *Service) List(ctx context.Context, page func([]driver.Machine) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel(nil)

	// Ask for managed nodes in parallel with the instances.
	var managed []ssmtypes.InstanceInformation
	var managedErr error
	managedDone := make(chan struct{})
	asking.Go(func() {
		defer close(managedDone)
		q := Query{Managed: true}
		managedErr = s.inform(ctx, q.ssmFilters(), func(p []ssmtypes.InstanceInformation) { managed = append(managed, p...) })
	})
	// Fetch EC2's next page while completing this one.
	pages := make(chan []driver.Machine)
	var ec2Err error
	asking.Go(func() {
		defer close(pages)
		ec2Err = s.describe(ctx, []ec2types.Filter{there}, func(p []driver.Machine) {
			select {
			case pages <- p:
			case <-ctx.Done():
			}
		})
	})
	given := make(map[string]bool) // by id
	for p := range pages {
		ids := make([]string, 0, len(p))
		for i := range p {
			ids = append(ids, p[i].ID)
			given[p[i].ID] = true
		}
		if err := page(s.merge(p, s.pings(ctx, ids))); err != nil {
			return err
		}
	}
	<-managedDone
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if managedErr != nil {
		if ec2Err != nil {
			return &Error{ec2Err, managedErr}
		}
		s.tell(SSMAction, managedErr)
		return nil
	}
	if ec2Err == nil {
		if len(managed) == 0 {
			return nil
		}
		return page(s.merge(nil, managed))
	}
	s.tell(EC2Action, ec2Err)
	var pageErr error
	err := s.inform(ctx, nil, func(p []ssmtypes.InstanceInformation) {
		list := slices.DeleteFunc(s.merge(nil, p), func(m driver.Machine) bool { return given[m.ID] })
		if pageErr == nil && len(list) > 0 {
			if pageErr = page(list); pageErr != nil {
				cancel(pageErr)
			}
		}
	})
	if pageErr != nil {
		return pageErr
	}
	if err != nil {
		return &Error{SSM: err}
	}
	return nil
}

// pings asks for the agents' state on some of EC2's instances. Without an
// answer the list goes on.
func (s *Service) pings(ctx context.Context, ids []string) (nodes []ssmtypes.InstanceInformation) {
	if s.isTold(SSMAction) {
		return nil
	}
	asked := ctx
	ctx, stop := context.WithTimeoutCause(ctx, addTime, errAddTime)
	defer stop()
	var (
		asking sync.WaitGroup
		mu     sync.Mutex
		places = make(chan struct{}, ssmParallel)
	)
	for chunk := range slices.Chunk(ids, ssmPage) {
		places <- struct{}{}
		asking.Go(func() {
			defer func() { <-places }()
			q := Query{IDs: chunk}
			err := s.inform(ctx, q.ssmFilters(), func(p []ssmtypes.InstanceInformation) {
				mu.Lock()
				defer mu.Unlock()
				nodes = append(nodes, p...)
			})
			if err != nil && asked.Err() == nil {
				s.tell(SSMAction, err)
			}
		})
	}
	asking.Wait()
	return nodes
}
