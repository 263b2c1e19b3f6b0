/**
 * Delayed messages: an index by the time they fall due. Plain messages are not in it, and no change of a message's state
 * touches its columns, so marking a confirm stays a heap-only update.
 */
export const delayed = `
CREATE INDEX message_due ON message (owner, deliver_at, id) WHERE deliver_at IS NOT NULL;
`;
