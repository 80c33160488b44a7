package domain

// Delete says that the task is to be removed from the record, which is then done in
// place of a save. Only a task that has ended may be; any other is a conflict that says
// what to do first.
func (t *Task) Delete() error {
	switch t.s.Status {
	case StatusPending:
		return Errorf(CodeConflict, "a %s task cannot be deleted: cancel it first", t.s.Status)
	case StatusProcessing:
		return Errorf(CodeConflict, "a %s task cannot be deleted: stop it first", t.s.Status)
	}
	t.deleted = true
	return nil
}

// Deleted reports whether the task is to be removed from the record, or has been.
func (t *Task) Deleted() bool { return t.deleted }
