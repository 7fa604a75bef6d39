"""Faults of what is kept, and of what hostile text can do."""

from reliability.fault import Fault, at, swept

KEEPING = (
    Fault(
        "G1",
        "who writes a message down fails for a while, or to the last",
        at(
            "agents/test_context",
            "test_a_persist_handler_that_fails_is_called_again",
            "test_a_handler_that_could_not_be_called_again_is_reported",
            "test_a_message_whose_handler_failed_is_persisted_when_it_comes_again",
        ),
    ),
    Fault(
        "G2",
        "who writes messages down fails while nobody waits for it",
        at(
            "agents/test_context",
            "test_a_message_whose_handler_failed_is_persisted_when_it_comes_again",
            "test_each_message_is_persisted_once_and_inner_ones_first",
        )
        + at("promising/test_context", "test_a_handler_that_fails_is_logged_and_harms_nobody")
        + swept("raise-persisting", "kill-persisting"),
    ),
    Fault(
        "G3",
        "the disk is full, or the file may not be written",
        at(
            "ext/test_chat_history_md",
            "test_a_full_disk_is_an_error_after_the_messages",
            "test_a_disk_that_fails_for_one_message_takes_the_next",
            "test_a_disk_that_takes_little_at_a_time_gets_all",
            "test_an_unusable_path_is_refused_at_once",
            "test_a_protected_file_or_folder_is_refused_at_once[CHAT.md]",
            "test_a_protected_file_or_folder_is_refused_at_once[.]",
        ),
    ),
    Fault(
        "G4",
        "the program is killed while a reply streams",
        at("ext/test_chat_history_md", "test_a_killed_program_loses_nothing_that_it_had_completed")
        + at(
            "reliability/test_figures",
            "test_what_was_acknowledged_survives_a_kill",
            "test_a_torn_history_keeps_its_complete_entries",
        )
        + at(
            "ext/test_chat_markdown",
            "test_every_prefix_gives_its_complete_entries",
            "test_appending_after_a_torn_entry_changes_nothing_before",
        ),
    ),
    Fault(
        "G5",
        "a file has bytes that are no text",
        at("ext/test_chat_history_md", "test_bad_bytes_do_not_make_the_file_unreadable")
        + at(
            "ext/test_chat_markdown",
            "test_bad_bytes_cost_nothing_else",
            "test_invalid_utf8_is_replaced_where_it_stands",
        ),
    ),
    Fault(
        "G6",
        "two writers share a file",
        at(
            "ext/test_chat_history_md",
            "test_writers_do_not_interleave[one context]",
            "test_writers_do_not_interleave[two contexts]",
            "test_another_program_completes_its_entry_first",
            "test_a_history_that_waits_for_another_program_can_be_cancelled",
        ),
    ),
    Fault(
        "G7",
        "a text has what the file format uses itself",
        at("ext/test_chat_history_md", "test_every_text_comes_back")
        + at(
            "ext/test_chat_markdown",
            "test_what_is_written_is_what_is_loaded",
            "test_line_endings_of_another_system_change_nothing",
            "test_chunks_leave_no_trace",
            "test_appending_to_any_file_changes_nothing_before",
        ),
    ),
    Fault(
        "G8",
        "a text in a history looks like turns of others",
        at("ext/test_chat_markdown", "test_no_text_forges_a_turn")
        + at("ext/test_console_user_agent", "test_a_role_stays"),
    ),
    Fault("G9", "a file is named after a model", not_offered="no file is"),
    Fault(
        "G10",
        "two programs or dialogs use a history in memory",
        at("ext/test_chat_history", "test_two_histories_share_nothing")
        + at(
            "ext/test_console_user_agent",
            "test_two_dialogs_share_nothing",
            "test_two_calls_outside_a_loop_share_nothing",
        )
        + at("agents/test_per_dialog", "test_each_dialog_has_its_own"),
    ),
    Fault(
        "G11",
        "a key of content depends on the process, or on what JSON does not have",
        at(
            "messages/test_frozen",
            "test_the_key_is_the_same_in_every_process",
            "test_the_key_does_not_depend_on_the_order_of_fields",
            "test_different_content_has_different_keys",
            "test_what_has_no_frozen_form_is_refused_with_its_place[nan-ValueError-nan]",
            "test_what_has_no_frozen_form_is_refused_with_its_place",
        ),
    ),
    Fault(
        "G12",
        "a message is copied with changes",
        at("messages/test_frozen", "test_a_copy_never_carries_what_was_computed_for_the_original"),
    ),
    Fault(
        "G13",
        "the disk reports only at the end that it has not kept what was written",
        at(
            "ext/test_chat_history_md",
            "test_a_failed_fsync_is_an_error",
            "test_an_entry_is_on_disk_before_the_reply_ends",
            "test_a_file_that_is_replaced_while_a_message_streams_gets_the_message",
        ),
    ),
    Fault("G14", "the clock goes back, or stands still", not_offered="nothing is named or ordered by the clock"),
)

SECURITY = (
    Fault(
        "H1",
        "data has fields that are named like internals",
        at("messages/test_frozen", "test_data_cannot_reach_what_is_cached", "test_what_is_computed_cannot_be_set")
        + at(
            "reliability/test_figures",
            "test_bad_input_is_refused_by_a_documented_error[Message(name=x)]",
            "test_bad_input_is_refused_by_a_documented_error[agent.inquire(x, name=x)]",
        ),
    ),
    Fault(
        "H2",
        "data that is passed on as a dict says that it is the system's",
        at("ext/llm/test_requests", "test_who_has_said_what"),
        open="a dict with the role `system` is part of the system prompt, whoever has written it",
    ),
    Fault(
        "H3",
        "a template reaches for attributes or asks for a gigabyte",
        at(
            "messages/test_message",
            "test_a_template_that_reaches_for_more_is_refused[{name.__class__}]",
            "test_a_template_that_reaches_for_more_is_refused[{name[0]}]",
            "test_a_template_that_reaches_for_more_is_refused[{name!r}]",
            "test_a_template_that_reaches_for_more_is_refused[{name:>300000000}]",
            "test_a_template_that_reaches_for_more_is_refused[{nested}]",
            "test_a_template_that_reaches_for_more_is_refused[{text_template}]",
        ),
    ),
    Fault(
        "H4",
        "a model sends escape sequences for the terminal",
        at(
            "ext/test_terminal",
            "test_nothing_that_could_control_a_terminal_is_left",
            "test_however_a_text_is_cut_the_result_is_the_same",
            *(
                f"test_what_is_shown[{what}]"
                for what in (
                    "clearing the screen",
                    "8-bit CSI",
                    "window title, ended by BEL",
                    "clipboard",
                    "hyperlink",
                    "right-to-left override",
                    "control characters",
                    "half a surrogate pair",
                )
            ),
        )
        + at("ext/test_console_user_agent", "test_nothing_can_control_the_terminal")
        + at("cli/test_chat", "test_escape_sequences_of_a_model_do_not_reach_the_terminal")
        + at("cli/test_demo", "test_a_question_cannot_write_to_the_terminal"),
    ),
    Fault(
        "H5",
        "a key could stand in what is logged, shown or raised",
        at(
            "ext/llm/test_arguments",
            *(
                f"test_no_fault_tells_a_key[{agent}-{kind}-streamed]"
                for agent in ("openai_agent", "anthropic_agent")
                for kind in ("status", "cut", "error_event", "malformed_json")
            ),
            "test_a_key_that_no_header_can_carry",
            "test_no_repr_tells_a_key",
            "test_a_bad_address_does_not_tell_its_password",
        )
        + at("cli/test_doctor", "test_keys_are_named_and_never_shown"),
    ),
    Fault(
        "H6",
        "an argument of an agent is a secret, and calls are written down",
        at("agents/test_context", "test_calls_and_replies_are_messages_to_those_who_observe"),
    ),
    Fault(
        "H7",
        "data names a class or is a pickle",
        at(
            "reliability/test_faults",
            "test_nothing_in_the_library_runs_what_it_reads",
            "test_no_name_in_data_chooses_a_class[$class]",
            "test_no_name_in_data_chooses_a_class[class_]",
            "test_no_name_in_data_chooses_a_class[__class__]",
            "test_no_name_in_data_chooses_a_class",
        ),
    ),
    Fault(
        "H8",
        "a text talks a model into calling a tool",
        at(
            "ext/llm/test_approvals",
            "test_an_obedient_model_gets_no_forbidden_tool_run",
            "test_an_obedient_model_is_tried_in_earnest",
            "test_all_else_is_a_no",
        ),
    ),
    Fault("H9", "a model sends markup to a browser", not_offered="there is no page for browsers"),
    Fault("H10", "a page of others reaches a local server", not_offered="only tests serve anything"),
    Fault("H11", "a token of a local server becomes known", not_offered="only tests serve anything"),
    Fault("H12", "clients of a local server do not read", not_offered="only tests serve anything"),
    Fault(
        "H13",
        "what comes is too large, too deep, or made to take long",
        at(
            "messages/test_frozen",
            "test_what_is_nested_too_deeply_is_refused_also_when_it_was_built_up",
        )
        + at("ext/llm/test_bodies", "test_a_body_that_is_no_answer[nested too deep-openai]")
        + at("ext/llm/test_wire", "test_a_line_without_end_takes_linear_time")
        + at(
            "ext/llm/test_sizes_of_answers",
            *(
                test.replace("way", way)
                for way in ("our client", "caller's client")
                for test in (
                    "test_an_event_without_end_is_refused[openai-way-a line]",
                    "test_a_text_without_end_is_refused[anthropic-way]",
                    "test_a_stream_without_end_is_refused[openai-way-arguments]",
                    "test_a_whole_answer_in_the_place_of_a_stream_has_a_limit[anthropic-way]",
                    "test_a_small_stream_cannot_be_unpacked_without_end[openai-way]",
                )
            ),
            "test_a_small_body_cannot_be_unpacked_without_end[openai-200-False-our client]",
            "test_what_the_sdk_reads_has_a_limit[anthropic-400-True-application/json-our client]",
        )
        + at("ext/test_chat_markdown", "test_long_texts_take_linear_time")
        + at("ext/test_models_eliza", "test_an_endless_statement_is_answered_at_once"),
        open="what the SDK reads at once through a client of the caller's own, an answer that is not streamed or an error, "
        "has only the limits of that client",
    ),
    Fault(
        "H14",
        "importing the library brings more than is used",
        at(
            "test_imports",
            "test_importing_loads_no_sdk_and_no_terminal_library[public names]",
            "test_importing_loads_no_sdk_and_no_terminal_library[LLM agents]",
            "test_importing_changes_no_settings",
        )
        + at("test_layers", "test_the_engine_stands_on_the_standard_library_alone")
        + at("ext/test_console_user_agent", "test_importing_touches_no_terminal"),
    ),
)
