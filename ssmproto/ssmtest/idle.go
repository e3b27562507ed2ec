package ssmtest

import "time"

// startIdle starts the timer for the idle timeout, if there is one.
func (s *Session) startIdle() {
	limit := s.srv.cfg.IdleTimeout
	if limit <= 0 {
		return
	}
	s.used()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = time.AfterFunc(limit, func() {
		left := limit - time.Duration(time.Now().UnixNano()-s.lastUsed.Load())
		if left <= 0 {
			s.End(idleReason)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.ended {
			s.idle.Reset(left)
		}
	})
}

// used records that a message has passed.
func (s *Session) used() {
	if s.srv.cfg.IdleTimeout > 0 {
		s.lastUsed.Store(time.Now().UnixNano())
	}
}

func (s *Session) stopIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle != nil {
		s.idle.Stop()
	}
}
