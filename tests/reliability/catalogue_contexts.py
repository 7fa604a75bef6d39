"""Faults of programs themselves: deadlocks, contexts, loops and threads, load."""

import sys

from reliability.fault import Fault, at, swept

DEADLOCKS = (
    Fault(
        "C1",
        "a promise awaits itself",
        at(
            "agents/test_deadlocks",
            "test_a_deadlock_is_named[a_promise_that_awaits_itself]",
            "test_a_deadlock_is_named[a_stream_that_reads_itself]",
        ),
    ),
    Fault(
        "C2",
        "agents await each other",
        at(
            "agents/test_deadlocks",
            "test_a_deadlock_is_named[two_agents_that_await_each_other]",
            "test_a_deadlock_is_named[two_promises_that_await_each_other]",
            "test_a_deadlock_is_named[a_ring_of_three]",
            "test_a_deadlock_is_named[a_ring_of_sixty]",
            "test_a_deadlock_is_named[an_agent_and_a_promise_that_await_each_other]",
        ),
    ),
    Fault(
        "C3",
        "an agent awaits its own reply",
        at(
            "agents/test_deadlocks",
            "test_a_deadlock_is_named[an_agent_that_awaits_its_own_replies]",
            "test_a_deadlock_is_named[an_agent_that_reads_on_in_its_own_replies]",
            "test_a_deadlock_is_named[an_agent_whose_replies_contain_themselves]",
            "test_a_deadlock_is_named[an_agent_whose_replies_contain_themselves_out_of_order]",
        ),
    ),
    Fault(
        "C4",
        "a call is never finished and its replies are awaited",
        at(
            "agents/test_deadlocks",
            "test_a_deadlock_is_named[an_agent_that_awaits_the_replies_of_a_call_it_never_finishes]",
            "test_a_deadlock_is_named[a_program_that_awaits_the_replies_of_a_call_it_never_finishes]",
            "test_a_deadlock_is_named[an_open_call_awaited_behind_another_agent]",
        )
        + at("agents/test_agents", "test_a_call_left_open_is_closed_by_the_end_of_who_opened_it"),
    ),
    Fault(
        "C5",
        "a call is left unfinished by what awaits it at once, with other things, or in a task",
        at(
            "agents/test_deadlocks",
            "test_a_deadlock_is_named[an_open_call_awaited_by_gather]",
            "test_a_deadlock_is_named[an_open_call_awaited_by_a_plain_task_of_the_agent]",
        ),
    ),
    Fault(
        "C6",
        "an appender is never closed",
        at(
            "promising/test_streams",
            "test_an_appender_left_open_is_closed_by_the_end_of_its_context",
            "test_an_appender_that_was_dropped_ends_its_stream",
            "test_an_appender_of_a_producer_that_failed_ends_its_stream",
            "test_a_cancellation_always_leaves_the_block",
        )
        + swept("schedule-appender_left_open", "kill-appender_left_open"),
    ),
    Fault(
        "C7",
        "agents exhaust a pool or a semaphore that they share",
        not_offered="the library has neither pools nor semaphores",
    ),
)

CONTEXTS = (
    Fault(
        "D1",
        "a promise or a call is made outside any context",
        at("promising/test_promise", "test_a_promise_made_outside_any_context_starts_where_it_is_first_read")
        + at("agents/test_agents", "test_a_call_outside_any_context_starts_where_it_is_read"),
    ),
    Fault(
        "D2",
        "a promise is read when its context has ended",
        at("promising/test_promise", "test_a_promise_that_was_never_started_says_that_its_context_has_ended")
        + at("agents/test_context", "test_a_task_that_outlives_its_context_can_still_make_messages"),
    ),
    Fault(
        "D3",
        "a promise is read in a second loop, the first one being closed",
        at("reliability/test_faults", "test_a_promise_of_a_closed_loop_is_not_run_in_the_next_one")
        + at("promising/test_context", "test_a_context_can_be_used_again_but_not_twice_at_once"),
    ),
    Fault(
        "D4",
        "a promise is read in the loop of another thread",
        at(
            "promising/test_promise",
            "test_reading_from_another_loop_is_refused",
            "test_an_item_appended_in_a_thread_wakes_the_loop",
        )
        + at("agents/test_ownership", "test_a_thread_may_cancel", "test_a_program_in_a_thread_is_one_of_its_own"),
    ),
    Fault(
        "D5",
        "a thread beside the loop calls an agent",
        at("reliability/test_faults", "test_a_thread_is_told_how_to_call_an_agent"),
    ),
    Fault(
        "D6",
        "a context is entered in one task and left in another",
        at("promising/test_context", "test_entered_in_one_task_and_left_in_another"),
    ),
    Fault(
        "D7",
        "a context is entered twice at once",
        at("promising/test_context", "test_a_context_can_be_used_again_but_not_twice_at_once"),
    ),
    Fault(
        "D8",
        "contexts are nested",
        at(
            "promising/test_context",
            "test_an_inner_context_waits_for_its_own_work_only",
            "test_the_current_context_is_the_innermost_active_one",
            "test_a_handler_may_be_registered_by_decoration_and_hears_of_inner_contexts",
        )
        + swept("schedule-nested_contexts", "cancel-nested_contexts", "schedule-nested_agents_context"),
    ),
    Fault(
        "D9",
        "several threads have a loop with agents each",
        at("reliability/test_faults", "test_programs_in_four_threads_share_nothing"),
    ),
    Fault(
        "D10",
        "the loop starts tasks eagerly",
        at("reliability/test_faults", "test_everything_works_with_eager_tasks"),
        not_offered="" if sys.version_info >= (3, 12) else "eager tasks came with Python 3.12",
    ),
    Fault(
        "D11",
        "promises and calls are dropped unread",
        at("promising/test_context", "test_a_promise_leaves_no_reference_cycles")
        + at(
            "agents/test_agents",
            "test_a_call_leaves_no_reference_cycles",
        )
        + at(
            "agents/test_context",
            "test_a_failed_call_leaves_no_reference_cycles",
        )
        + at(
            "reliability/test_figures",
            "test_a_call_leaves_no_cyclic_garbage[False]",
            "test_a_call_leaves_no_cyclic_garbage[True]",
            "test_calls_leave_nothing_behind",
            "test_a_context_that_lives_long_does_not_grow",
        ),
    ),
    Fault(
        "D12",
        "a call is opened in one place and finished in another",
        at("reliability/test_faults", "test_open_calls_that_were_finished_are_forgotten")
        + at(
            "agents/test_agents",
            "test_a_call_opened_in_a_block_inside_an_agent_is_closed_by_that_block",
        ),
    ),
    Fault(
        "D13",
        "a lazy agent is called and never read",
        at("agents/test_agents", "test_a_lazy_call_that_nobody_read_is_told")
        + at("agents/test_context", "test_observing_starts_nothing_and_delays_nothing"),
    ),
    Fault(
        "D14",
        "an agent blocks the loop",
        at("reliability/test_faults", "test_an_agent_that_holds_the_loop_is_named_in_debug_mode"),
    ),
)

LOAD = (
    Fault(
        "E1",
        "ten thousand agents are at work at once",
        at("reliability/test_faults_load", "test_ten_thousand_agents_at_once"),
    ),
    Fault(
        "E2",
        "agents call agents, thousands deep",
        at("agents/test_agents", "test_ten_thousand_agents_forward_one_to_the_next")
        + at("agents/test_ownership", "test_a_tree_of_any_depth_is_cancelled")
        + at("promising/test_sequences", "test_a_chain_needs_no_stack"),
    ),
    Fault(
        "E3",
        "lazy promises await each other, thousands deep",
        at("reliability/test_figures", "test_depth_is_no_special_case"),
    ),
    Fault(
        "E4",
        "lists are nested thousands deep, or contain themselves",
        at(
            "messages/test_sequence",
            "test_a_hundred_thousand_nested_lists",
            "test_a_list_that_contains_itself_is_refused",
        )
        + at("promising/test_sequences", "test_flattening_does_not_recurse")
        + at("messages/test_frozen", "test_a_value_that_contains_itself_is_refused"),
    ),
    Fault(
        "E5",
        "a producer is faster than its reader",
        at(
            "promising/test_backpressure",
            "test_a_producer_is_never_further_ahead_than_was_said[1]",
            "test_a_producer_is_never_further_ahead_than_was_said[7]",
            "test_a_producer_that_nobody_reads_makes_as_much_as_was_said",
            "test_the_foremost_reader_sets_the_pace",
            "test_a_reader_that_is_cancelled_lets_the_next_one_go_on",
            "test_a_context_that_is_left_holds_nobody_back",
            "test_it_reaches_through_agents",
        )
        + at("messages/test_packed", "test_a_finished_message_is_its_text_in_memory")
        + swept("cancel-bounded_streams", "kill-bounded_streams"),
    ),
    Fault(
        "E6",
        "a reply has tens of thousands of messages",
        at("reliability/test_faults_load", "test_a_reply_of_twenty_thousand_messages_does_not_hold_the_loop")
        + at(
            "promising/test_sequences",
            "test_many_items_out_of_order_do_not_hold_the_loop",
            "test_many_empty_sequences_do_not_hold_the_loop",
        )
        + at("promising/test_streams", "test_a_long_stream_does_not_hold_the_loop"),
    ),
    Fault(
        "E7",
        "a message has fifty megabytes",
        at("reliability/test_faults_load", "test_a_message_of_fifty_megabytes"),
    ),
    Fault(
        "E8",
        "a stream has thousands of readers",
        at("reliability/test_faults_load", "test_what_a_token_costs_a_reader_does_not_grow_with_the_readers"),
    ),
)
