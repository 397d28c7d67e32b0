"""What a run can be asked to change while it goes on: questions, who asks them, who answers."""
