"""Faults of programs themselves: errors, cancellations, and the end of a context."""

from reliability.fault import Fault, at, swept

ERRORS = (
    Fault(
        "A1",
        "an agent fails before it has said anything",
        at(
            "promising/test_streams",
            "test_an_error_among_the_pieces_is_raised_at_its_place[raised-0]",
        )
        + swept("raise-agent", "raise-plain_promise"),
    ),
    Fault(
        "A2",
        "an agent fails after it has said something",
        at(
            "agents/test_context",
            "test_an_error_of_an_agent_is_an_item_of_its_reply",
            "test_an_error_passes_through_agents_that_forward_it",
        )
        + at("messages/test_sequence", "test_an_exception_among_messages_is_raised_at_its_place")
        + at(
            "promising/test_streams",
            "test_an_error_among_the_pieces_is_raised_at_its_place[raised-1]",
            "test_an_error_among_the_pieces_is_raised_at_its_place[raised-3]",
        )
        + swept("raise-settled", "raise-failing_agent", "raise-fan_out"),
    ),
    Fault(
        "A3",
        "a task goes on replying when its agent has returned",
        at(
            "agents/test_agents",
            "test_replying_after_the_agent_has_returned_is_refused",
            "test_a_reply_can_be_finished_early",
        )
        + at("promising/test_streams", "test_appending_out_of_turn_is_refused")
        + at("reliability/test_faults", "test_a_reply_that_comes_too_late_is_refused_by_name"),
    ),
    Fault(
        "A4",
        "an agent whose reply nobody reads raises KeyboardInterrupt",
        at("agents/test_context", "test_what_ends_programs_is_never_swallowed[False-KeyboardInterrupt]")
        + at(
            "promising/test_context",
            "test_what_ends_programs_is_raised_at_the_end_if_nobody_read_it[KeyboardInterrupt]",
        )
        + swept("raise-unread_failure"),
    ),
    Fault(
        "A5",
        "an agent whose reply nobody reads exits with a status",
        at(
            "agents/test_context",
            "test_what_ends_programs_is_never_swallowed[False-SystemExit]",
            "test_what_ends_programs_is_raised_also_beside_another_error",
        )
        + at("promising/test_context", "test_what_ends_programs_is_raised_at_the_end_if_nobody_read_it[SystemExit]")
        + at(
            "reliability/test_faults",
            "test_the_status_of_a_program_is_that_which_an_agent_exits_with[run]",
            "test_the_status_of_a_program_is_that_which_an_agent_exits_with[arun]",
        ),
    ),
    Fault(
        "A6",
        "an agent whose reply is read raises what ends programs",
        at(
            "agents/test_context",
            "test_what_ends_programs_is_never_swallowed[True-KeyboardInterrupt]",
            "test_what_ends_programs_is_never_swallowed[True-SystemExit]",
        )
        + at(
            "promising/test_promise",
            "test_errors_of_every_kind_reach_the_reader[KeyboardInterrupt]",
            "test_errors_of_every_kind_reach_the_reader[SystemExit]",
        ),
    ),
    Fault(
        "A7",
        "a producer raises CancelledError although nobody has cancelled it",
        at("promising/test_promise", "test_a_cancelled_resolver_does_not_look_like_a_cancelled_reader")
        + at("reliability/test_faults", "test_an_agent_that_raises_cancelled_error_is_seen_by_a_task_group")
        + swept("raise-agent", "raise-stream"),
    ),
    Fault(
        "A8",
        "a producer raises what ends iterators",
        at(
            "promising/test_promise",
            "test_what_ends_iterators_does_not_look_like_the_end_of_a_stream[StopIteration]",
            "test_what_ends_iterators_does_not_look_like_the_end_of_a_stream[StopAsyncIteration]",
        ),
    ),
    Fault(
        "A9",
        "a value or a piece is an exception object",
        at("promising/test_promise", "test_an_exception_that_is_returned_is_a_value")
        + at(
            "promising/test_streams",
            "test_an_error_among_the_pieces_is_raised_at_its_place[given as a piece-0]",
            "test_a_stream_is_over_at_an_error_that_was_given_as_a_piece",
        ),
    ),
    Fault(
        "A10",
        "work that an agent has started in the background fails",
        at(
            "reliability/test_faults",
            "test_what_fails_in_the_background_of_an_agent_is_reported[a promise]",
            "test_what_fails_in_the_background_of_an_agent_is_reported[a task]",
        )
        + swept("raise-background_of_an_agent"),
    ),
    Fault(
        "A11",
        "thousands of readers meet the same error",
        at("reliability/test_figures", "test_a_traceback_does_not_grow_with_the_readers")
        + at(
            "promising/test_promise",
            "test_the_traceback_does_not_grow_with_the_number_of_readers",
            "test_every_reader_gets_the_same_exception_object",
        ),
    ),
    Fault(
        "A12",
        "readers of the same error are each handling another one",
        at("promising/test_promise", "test_the_context_of_a_reader_does_not_stay_on_a_shared_exception")
        + at("reliability/test_faults", "test_readers_in_trouble_of_their_own_do_not_mix_it"),
    ),
    Fault(
        "A13",
        "nobody reads an error",
        at("promising/test_context", "test_an_error_nobody_read_is_logged_once")
        + at(
            "agents/test_context",
            "test_an_error_nobody_read_is_logged_once_with_its_trace",
            "test_an_error_that_was_read_once_is_not_reported",
        )
        + swept("schedule-unread_failure", "schedule-caught_failure"),
    ),
    Fault(
        "A14",
        "a handler of promises makes and awaits promises",
        at("promising/test_context", "test_promises_of_a_handler_call_no_handlers")
        + swept("schedule-handlers", "raise-handlers"),
    ),
    Fault(
        "A15",
        "the docstring of an agent has braces in it",
        at("agents/test_agents", "test_alias_and_description_come_from_the_function"),
    ),
    Fault(
        "A16",
        "an error that becomes a message has a secret in its text",
        open="the text of an exception stands in the message as it is; only errors of models are sure to tell no key",
    ),
)

CANCELLATION = (
    Fault(
        "B1",
        "one of several readers gives up by `wait_for`",
        at(
            "reliability/test_faults",
            "test_the_time_limit_of_a_reader_is_its_own[wait_for-a promise]",
            "test_the_time_limit_of_a_reader_is_its_own[wait_for-a message]",
        )
        + swept("cancel-plain_promise", "cancel-stream"),
    ),
    Fault(
        "B2",
        "one of several readers gives up by `asyncio.timeout`",
        at(
            "reliability/test_faults",
            "test_the_time_limit_of_a_reader_is_its_own[timeout-a promise]",
            "test_the_time_limit_of_a_reader_is_its_own[timeout-a message]",
        )
        + at("promising/test_promise", "test_a_reader_that_is_cancelled_at_any_step_changes_nothing_for_the_others"),
    ),
    Fault(
        "B3",
        "the reader that has started a lazy promise gives up",
        at(
            "reliability/test_faults",
            "test_the_time_limit_of_a_reader_is_its_own[wait_for-a lazy promise]",
            "test_the_time_limit_of_a_reader_is_its_own[wait_for-a lazy message]",
            "test_the_time_limit_of_a_reader_is_its_own[timeout-a lazy promise]",
            "test_the_time_limit_of_a_reader_is_its_own[timeout-a lazy message]",
        )
        + swept("cancel-lazy_promise", "cancel-lazy_stream", "cancel-lazy_agent", "cancel-message"),
    ),
    Fault(
        "B4",
        "an agent gives up on its input and tries again",
        at("reliability/test_faults", "test_an_agent_that_gave_up_on_its_input_can_read_it_again"),
    ),
    Fault(
        "B5",
        "a reader polls a stream that has started",
        at("reliability/test_faults", "test_a_reader_that_polls_gets_every_token[eager]")
        + swept("schedule-polling", "cancel-polling"),
    ),
    Fault(
        "B6",
        "a reader polls a stream that starts when it is read",
        at("reliability/test_faults", "test_a_reader_that_polls_gets_every_token[lazy]"),
    ),
    Fault(
        "B7",
        "a reader breaks off",
        at("promising/test_streams", "test_breaking_off_leaves_the_stream_to_the_others")
        + at(
            "agents/test_ownership",
            "test_dropping_a_reader_is_no_cancellation",
            "test_a_block_ends_the_work_with_it[a break]",
            "test_cancelling_a_call_ends_everything_below_it[working]",
        )
        + swept("schedule-breaking_off", "cancel-breaking_off"),
    ),
    Fault(
        "B8",
        "a task of the library is cancelled in the middle of its work",
        at("promising/test_promise", "test_a_producer_that_is_cancelled_at_any_step_gives_its_readers_an_end")
        + swept(
            "kill-plain_promise",
            "kill-stream",
            "kill-agent",
            "kill-rope",
            "kill-out_of_order",
            "kill-open_call",
            "kill-join",
            "kill-split",
        ),
    ),
    Fault(
        "B9",
        "a task is cancelled before its first step",
        at(
            "promising/test_context",
            "test_tasks_that_are_cancelled_before_their_first_step_leave_nothing_behind",
        )
        + swept("kill-lazy_promise", "kill-lazy_agent", "kill-nested_contexts"),
    ),
    Fault(
        "B10",
        "a producer is cancelled while its appender is open",
        at(
            "promising/test_streams",
            "test_a_cancellation_always_leaves_the_block[True]",
            "test_a_cancellation_always_leaves_the_block[False]",
        )
        + swept("kill-appender", "kill-appender_in_the_block", "kill-message_by_appender"),
    ),
    Fault(
        "B11",
        "an agent never ends, and the block is left normally",
        at(
            "agents/test_context",
            "test_the_end_of_a_block_tells_for_whom_it_waits[1]",
            "test_the_end_of_a_block_tells_for_whom_it_waits[30]",
        )
        + at("promising/test_context", "test_leaving_normally_waits_for_everything")
        + at(
            "agents/test_ownership",
            "test_a_deadline_holds_for_all_that_is_called",
            "test_a_plain_promise_can_be_cancelled",
            "test_a_block_ends_the_work_with_it[the end]",
        ),
    ),
    Fault(
        "B12",
        "the block is left by an error while agents are at work",
        at(
            "promising/test_context",
            "test_leaving_by_an_error_cancels_everything_and_goes_on[an exception]",
            "test_every_schedule_ends_the_same_way",
        )
        + at("agents/test_context", "test_leaving_by_an_error_ends_the_agents"),
    ),
    Fault(
        "B13",
        "the block is cancelled",
        at("promising/test_context", "test_leaving_by_an_error_cancels_everything_and_goes_on[a cancellation]")
        + at("agents/test_context", "test_a_second_cancellation_does_not_leave_tasks_behind")
        + at("reliability/test_faults", "test_a_block_that_is_cancelled_leaves_no_context_behind")
        + swept("leave-agent", "leave-nested_contexts", "leave-handlers", "leave-open_call"),
    ),
    Fault(
        "B14",
        "Ctrl+C in `asyncio.run`",
        at(
            "agents/test_context",
            *(
                f"test_one_interrupt_ends_a_program[{what}-asyncio.run(miniagents.MiniAgents().arun(main()))]"
                for what in ("a loop that waits", "a blocking call that holds the loop", "an agent that cleans up")
            ),
        )
        + at("reliability/test_figures", "test_one_interrupt_ends_a_program"),
    ),
    Fault(
        "B15",
        "Ctrl+C in `miniagents.run`",
        at(
            "agents/test_context",
            *(
                f"test_one_interrupt_ends_a_program[{what}-miniagents.run(main())]"
                for what in ("a loop that waits", "a blocking call that holds the loop", "an agent that cleans up")
            ),
            "test_run_runs_coroutines_and_replies_and_can_be_called_again",
        ),
    ),
    Fault(
        "B16",
        "a context is activated and never finalized",
        at("reliability/test_faults", "test_a_context_that_nobody_finalizes_does_not_keep_a_program"),
    ),
    Fault(
        "B17",
        "a task of a context waits for all tasks of that context",
        at("promising/test_context", "test_flushing_from_inside_a_task_is_an_error_and_not_a_hang")
        + at(
            "agents/test_deadlocks",
            "test_a_deadlock_is_named[a_flush_from_inside_a_promise]",
            "test_a_deadlock_is_named[a_flush_from_inside_an_agent]",
        ),
    ),
    Fault(
        "B18",
        "an agent swallows its cancellation",
        at(
            "agents/test_ownership",
            "test_an_agent_that_will_not_stop_is_named[MiniAgents(grace_period=0.1).run(main())]",
            "test_an_agent_that_will_not_stop_is_named[asyncio.run(MiniAgents(grace_period=0.1).arun(main()))]",
            "test_a_handler_that_does_not_end_does_not_hold_up_the_end_of_a_context",
            "test_an_agent_that_swallows_its_cancellation_does_not_hide_it[False]",
            "test_nor_does_one_whose_context_has_ended",
        ),
    ),
)
