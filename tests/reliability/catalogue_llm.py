"""Faults on the way to the model of an LLM agent and back."""

from reliability.fault import Fault, at, on_the_wire

LLM = (
    Fault(
        "F1",
        "a provider is overloaded for a moment",
        at(
            "ext/llm/test_faults",
            "test_a_request_is_tried_again_before_its_answer_begins[openai_agent]",
            "test_a_request_is_tried_again_before_its_answer_begins[anthropic_agent]",
        )
        + at("ext/llm/test_arguments", "test_silence_counts_anew_for_each_request"),
    ),
    Fault(
        "F2",
        "a provider refuses all requests",
        on_the_wire("test_an_answer_that_never_begins", "status-streamed", "status-whole")
        + at(
            "ext/llm/test_faults",
            *(
                f"test_a_status_error_tells_what_the_provider_tells[{way}]"
                for way in (
                    "openai-429-requests-rate_limit_error",
                    "openai-529-server_error-overloaded_error",
                    "anthropic-429-requests-rate_limit_error",
                    "anthropic-529-server_error-overloaded_error",
                )
            ),
        ),
    ),
    Fault(
        "F3",
        "the connection is reset, or ends before its body",
        on_the_wire("test_a_stream_that_breaks", "cut")
        + on_the_wire("test_a_stream_that_is_reset")
        + on_the_wire("test_a_whole_answer_that_breaks", "cut", "reset")
        + on_the_wire("test_an_answer_that_never_begins", "close_before_headers-streamed"),
    ),
    Fault(
        "F4",
        "a stream just ends, without an end marker and without a reason",
        on_the_wire("test_a_stream_that_breaks", "clean_eof")
        + at(
            "ext/llm/test_bodies",
            "test_a_body_that_is_no_answer[neither marker nor reason-openai]",
            "test_a_body_that_is_no_answer[torn event-openai]",
            "test_where_an_answer_of_anthropic_ends[neither-anthropic]",
            "test_where_an_answer_of_anthropic_ends[torn stop-anthropic]",
        ),
    ),
    Fault(
        "F5",
        "what comes is no JSON, or JSON of no known shape",
        on_the_wire("test_a_stream_that_breaks", "malformed_json")
        + on_the_wire("test_a_whole_answer_that_breaks", "malformed_json")
        + on_the_wire("test_a_web_page_in_the_place_of_a_stream", file="test_bodies")
        + at(
            "ext/llm/test_answers",
            "test_no_shape_of_openais_chunks_is_an_accident",
            "test_no_shape_of_anthropics_events_is_an_accident",
        ),
    ),
    Fault(
        "F6",
        "a chunk has no choices: the first one, or the one with the usage",
        on_the_wire("test_what_is_only_unusual_is_no_error", "empty_choices_first")
        + at("ext/llm/test_bodies", "test_the_usage_behind_the_reason_is_read")
        + at("ext/llm/test_requests", "test_openai_is_asked_for_the_usage_of_a_stream"),
    ),
    Fault(
        "F7",
        "an answer has no role",
        on_the_wire("test_what_is_only_unusual_is_no_error", "missing_role")
        + on_the_wire("test_an_unusual_whole_answer_is_no_error", "missing_role"),
    ),
    Fault(
        "F8",
        "an answer has no content at all",
        on_the_wire("test_a_complete_answer_without_a_text", "streamed", "whole"),
    ),
    Fault(
        "F9",
        "an answer is cut short by its length or a filter, or refused",
        on_the_wire(
            "test_why_an_answer_ended_is_told",
            "finish_length-streamed",
            "finish_length-whole",
            "finish_content_filter-streamed",
            "finish_content_filter-whole",
        )
        + at("ext/llm/test_answers", "test_a_refusal_is_what_the_model_has_to_say"),
    ),
    Fault(
        "F10",
        "an error comes in the midst of a stream",
        on_the_wire("test_a_stream_that_breaks", "error_event")
        + on_the_wire("test_an_error_in_an_answer_tells_what_the_provider_tells", "streamed", "whole"),
    ),
    Fault(
        "F11",
        "the call of a tool comes in pieces, mixed with those of others",
        at(
            "ext/llm/test_answers",
            "test_openais_tool_calls_are_put_together",
            "test_anthropics_tool_calls_are_put_together[streamed]",
            "test_anthropics_tool_calls_are_put_together[whole]",
        ),
    ),
    Fault(
        "F12",
        "a body is cut anywhere, has other line ends, comments, and more behind its end",
        on_the_wire("test_what_is_only_unusual_is_no_error", "crlf_and_comments", "split_bytes")
        + on_the_wire("test_an_unusual_whole_answer_is_no_error", "split_bytes")
        + at("ext/llm/test_wire", "test_events_do_not_depend_on_how_the_body_is_cut")
        + at(
            "ext/llm/test_bodies",
            "test_an_answer_ends_with_its_marker_or_its_reason[nonsense behind the marker-openai]",
            "test_where_an_answer_of_anthropic_ends[nonsense behind the stop-anthropic]",
        ),
    ),
    Fault(
        "F13",
        "a text has characters that end lines elsewhere",
        at("ext/llm/test_wire", "test_characters_that_end_lines_elsewhere_do_not_end_them_here")
        + at("testing/test_llm_server", "test_hostile_texts_arrive_as_they_are"),
    ),
    Fault(
        "F14",
        "half of a surrogate pair comes, or is to be sent",
        at("ext/llm/test_wire", "test_surrogates_are_paired_or_replaced")
        + at("ext/llm/test_answers", "test_a_character_that_was_cut_in_two_is_whole")
        + at("ext/llm/test_bodies", "test_a_character_that_comes_in_two_events_is_whole[openai]")
        + on_the_wire("test_half_a_character_does_not_keep_a_prompt_from_being_sent", file="test_requests")
        + at("messages/test_frozen", "test_lone_surrogates_survive"),
    ),
    Fault(
        "F15",
        "a server sends fields that are named like those of a message",
        at(
            "ext/llm/test_answers",
            "test_data_of_a_server_cannot_change_what_a_message_is",
            "test_any_object_can_be_metadata",
        ),
    ),
    Fault(
        "F16",
        "a server keeps the connection alive and says nothing",
        on_the_wire("test_a_stream_that_falls_silent", "silence", "comments_only")
        + at("ext/llm/test_wire", "test_each_event_has_the_whole_time"),
    ),
    Fault(
        "F17",
        "a server accepts the request and never answers",
        on_the_wire("test_an_answer_that_never_begins", "hang_before_headers-streamed", "hang_before_headers-whole"),
    ),
    Fault(
        "F18",
        "nobody wants an answer any more that is still being generated",
        on_the_wire("test_cancelling_a_call_closes_its_connection", file="test_clients")
        + on_the_wire("test_leaving_the_context_by_an_error_closes_the_connection", file="test_clients")
        + on_the_wire("test_cancelling_the_context_closes_the_connection", file="test_clients"),
    ),
    Fault(
        "F19",
        "a stream breaks when its first tokens were shown",
        at(
            "ext/llm/test_faults",
            "test_a_request_is_never_tried_again_after_its_answer_has_begun[openai_agent]",
            "test_a_request_is_never_tried_again_after_its_answer_has_begun[anthropic_agent]",
        ),
    ),
)
