-- What was said of a case, whether a decision reads it or not.
CREATE INDEX inbox_subject ON inbox (subject);

-- The steps of the handling and Immigration's answers change no decision: they stand in the inbox, and no longer also
-- in the case. The fourth member of a fact is its type.
UPDATE cases SET facts = kept.facts
FROM (
    SELECT c.id, '[' || COALESCE(string_agg(one.fact::text, ',' ORDER BY one.place)
        FILTER (WHERE one.fact ->> 3 IN (
            'id.tka.ministry.permit.submitted.v1',
            'id.tka.ministry.permit.approved.v1',
            'id.tka.ministry.permit.amended.v1',
            'id.tka.ministry.permit.rejected.v1',
            'id.tka.ministry.permit.revoked.v1',
            'id.tka.ministry.permit.expired.v1',
            'id.tka.ministry.exemption.granted.v1',
            'id.tka.ministry.billing.issued.v1',
            'id.tka.ministry.billing.expired.v1',
            'id.tka.ministry.billing.cancelled.v1',
            'id.tka.ministry.difference.explained.v1',
            'id.tka.bank.payment.received.v1',
            'id.tka.bank.payment.booked.v1',
            'id.tka.bank.payment.reversed.v1',
            'id.tka.bank.difference.explained.v1')), '') || ']' AS facts
    FROM cases c CROSS JOIN LATERAL json_array_elements(c.facts::json) WITH ORDINALITY AS one (fact, place)
    GROUP BY c.id) AS kept
WHERE cases.id = kept.id AND cases.facts <> kept.facts;
