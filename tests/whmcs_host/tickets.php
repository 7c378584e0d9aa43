<?php

/**
 * Support tickets of the remote API, as developers.whmcs.com shows them. The API's administrator is assigned to the
 * first department alone.
 */

const DEPARTMENTS = ['1' => 'Sales', '3' => 'Technical support'];

function ticket_api(array $form)
{
    switch ($form['action']) {
        case 'GetSupportDepartments':
            $rows = [];
            foreach (DEPARTMENTS as $id => $name) {
                if (department_seen($id, $form)) {
                    $rows[] = ['id' => (string) $id, 'name' => $name, 'awaitingreply' => '0', 'opentickets' => '0'];
                }
            }
            $count = count($rows);
            return ['result' => 'success', 'totalresults' => $count, 'departments' => ['department' => $rows]];
        case 'OpenTicket':
            return open_ticket($form);
        case 'GetTickets':
            $rows = array_values(array_filter(tickets(), function ($ticket) use ($form) {
                return $ticket['userid'] == ($form['clientid'] ?? '')
                    && strpos($ticket['subject'], $form['subject'] ?? '') !== false
                    && department_seen($ticket['deptid'], $form);
            }));
            $rows = array_map(function ($ticket) {
                unset($ticket['replies']);
                return $ticket;
            }, $rows);
            return ['result' => 'success', 'totalresults' => count($rows), 'tickets' => ['ticket' => $rows]];
    }
    $ticket = tickets()[(int) ($form['ticketid'] ?? 0) - 1] ?? null;
    if ($ticket === null) {
        return ['result' => 'error', 'message' => 'Ticket ID Not Found'];
    }
    if ($form['action'] === 'AddTicketReply') {
        change_state(function (&$state) use ($ticket, $form) {
            $one = &$state['tickets'][$ticket['id'] - 1];
            $one['replies'][] = ['replyid' => (string) count($one['replies']), 'message' => $form['message']];
            $one['status'] = 'Customer-Reply';
        });
        return ['result' => 'success'];
    }
    return ['result' => 'success', 'replies' => ['reply' => $ticket['replies']]] + $ticket;
}

function tickets()
{
    return state()['tickets'] ?? [];
}

function department_seen($id, array $form)
{
    return (string) $id === '1' || !empty($form['ignore_dept_assignments']);
}

function open_ticket(array $form)
{
    if (!isset(DEPARTMENTS[$form['deptid'] ?? ''])) {
        return ['result' => 'error', 'message' => 'Department ID not found'];
    }
    $id = 0;
    change_state(function (&$state) use ($form, &$id) {
        $id = count($state['tickets'] ?? []) + 1;
        $state['tickets'][] = [
            'id' => $id, 'ticketid' => $id, 'tid' => "ABC-$id", 'deptid' => $form['deptid'],
            'userid' => $form['clientid'], 'serviceid' => $form['serviceid'] ?? '', 'subject' => $form['subject'],
            'status' => 'Open', 'replies' => [['replyid' => '0', 'message' => $form['message']]],
        ];
    });
    return ['result' => 'success', 'id' => $id, 'tid' => "ABC-$id", 'c' => 'x'];
}
